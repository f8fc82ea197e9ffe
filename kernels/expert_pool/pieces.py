"""How the CPU path cuts expert pooling into matrix products that fit the cache.

B batch, S streams, G routed experts of one clip, T frames. A pair is one (clip, stream, routed expert).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

ROWS = 1024
"""Frames of one product: with them stay W1, the hidden layer and the gradients of frames in a core's cache."""
ALONE = 256
"""A window of so many frames is a product of its own: gathering it would cost more than a larger product saves."""
PIECE = 12_000_000
"""What one more product costs beside its arithmetic, in multiplications: 30 to 60 microseconds of many small steps."""
INDEXED = 2**16
"""Rows whose numbers are found together: many small steps for each piece would cost more than its product."""

Rows = Tensor | slice
"""Row numbers, or a run of rows, which needs no copy."""


class Piece(NamedTuple):
    """c windows of L frames that one expert reads, as one product of c L rows."""

    expert: int
    windows: int  # c
    pairs: Rows  # c rows of [B S G]
    frames: Rows  # c L rows of [B S T]
    weights: Rows  # c L rows of [B G T]
    bits: Rows  # c L rows of [B S G T]
    outside: Tensor | None  # [c L] bool: frames that another window counts, or None where there are none


class Window(NamedTuple):
    """Frames of one clip that one routed expert reads."""

    length: int
    clip: int
    routed: int  # row of [B G]
    begin: int


class Group(NamedTuple):
    """Windows of one expert that become one product; the first is the longest."""

    expert: int
    windows: list[Window]


def cut(
    indices: Tensor,  # [B, G] int64
    first: Tensor,  # [B, G] int64
    last: Tensor,  # [B, G] int64
    num_streams: int,
    num_frames: int,
    frame_cost: int,
) -> Iterator[Piece]:
    """Every frame of every window [first, last) once, grouped by expert; the same for the same arguments.

    A frame costs `frame_cost` multiplications.
    """
    S, G, T = num_streams, indices.shape[1], num_frames
    waiting: list[Group] = []
    rows = 0
    for group in _groups(indices, first, last, S, PIECE // (S * frame_cost)):
        window = group.windows[0]
        if window.length >= ALONE or len(group.windows) * S == 1:
            for each in group.windows:
                yield from _alone(group.expert, each, S, G, T)
            continue
        waiting.append(group)
        rows += len(group.windows) * S * window.length
        if rows >= INDEXED:
            yield from _gathered(waiting, S, G, T)
            waiting, rows = [], 0
    if waiting:
        yield from _gathered(waiting, S, G, T)


def _groups(indices: Tensor, first: Tensor, last: Tensor, S: int, slack: int) -> Iterator[Group]:
    """A window joins those before it if that adds at most `slack` frames that it does not read."""
    windows: dict[int, list[Window]] = {}
    G = indices.shape[1]
    routed = zip(indices.flatten().tolist(), first.flatten().tolist(), last.flatten().tolist(), strict=True)
    for row, (expert, start, end) in enumerate(routed):
        for begin in range(start, end, ROWS):
            windows.setdefault(expert, []).append(Window(min(end - begin, ROWS), row // G, row, begin))
    for expert in sorted(windows):
        group = sorted(windows[expert], reverse=True)
        while group:
            longest = group[0].length
            most = max(ROWS // (longest * S), 1)
            count = sum(1 for window in group[:most] if longest - window.length <= slack)
            yield Group(expert, group[:count])
            group = group[count:]


def _alone(expert: int, window: Window, S: int, G: int, T: int) -> Iterator[Piece]:
    """A single window is a run of rows everywhere."""
    length, clip, routed, begin = window
    for stream in range(clip * S, clip * S + S):
        pair = stream * G + routed % G
        frames, weights, bits = (slice(row * T + begin, row * T + begin + length) for row in (stream, routed, pair))
        yield Piece(expert, 1, slice(pair, pair + 1), frames, weights, bits, None)


def _gathered(groups: list[Group], S: int, G: int, T: int) -> Iterator[Piece]:
    """Shorter windows are moved, not cut: each holds the same number of frames of its clip."""
    values = [(*window, group.windows[0].length) for group in groups for window in group.windows]
    length, clip, routed, begin, longest = torch.tensor(values).repeat_interleave(S, 0).unbind(1)  # [n] each
    stream = clip * S + torch.arange(S).repeat(len(values))
    pair = stream * G + routed % G
    moved = torch.minimum(begin, T - longest)
    count = longest.cumsum(0)
    start = moved - (count - longest)  # of a window, less the rows before it
    bases = torch.stack((stream * T + start, routed * T + start, pair * T + start, start - begin))
    rows = bases.repeat_interleave(longest, 1)
    rows += torch.arange(rows.shape[1])
    frames, weights, bits, place = rows.unbind(0)
    outside = (place < 0) | (place >= length.repeat_interleave(longest))
    row = number = 0
    for expert, windows in groups:
        c = len(windows) * S
        part, pairs = slice(row, row + c * windows[0].length), slice(number, number + c)
        some = windows[0].length != windows[-1].length
        yield Piece(expert, c, pair[pairs], frames[part], weights[part], bits[part], outside[part] if some else None)
        row, number = part.stop, pairs.stop
