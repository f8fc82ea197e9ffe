"""How the CPU path cuts expert pooling into matrix products that fit the cache.

B batch, S streams, G routed experts of one clip, T frames; c windows of L frames in one part. A pair is one
(clip, stream, routed expert).
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


class Part(NamedTuple):
    """c windows of L frames that one expert reads, as one product of c L rows."""

    expert: int
    windows: int  # c
    rows: slice  # c L of its piece's rows
    pairs: slice  # c of its piece's pairs


class Piece(NamedTuple):
    """Some parts, one after another; what can be read or written for all of them together, is."""

    parts: list[Part]
    frames: Rows  # of [B S T]
    weights: Rows  # of [B G T]
    bits: Rows  # of [B S G T]
    pairs: Rows  # of [B S G]
    outside: Tensor | None  # bool: rows that another window counts, or None where there are none


def part_of(rows: Rows, part: slice) -> Rows:
    """Some of the rows."""
    return slice(rows.start + part.start, rows.start + part.stop) if isinstance(rows, slice) else rows[part]


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
    """Every frame of every window [first, last) once, in parts of one expert; the same for the same arguments.

    A frame costs `frame_cost` multiplications.
    """
    S, G, T = num_streams, indices.shape[1], num_frames
    waiting: list[Group] = []
    rows = 0
    for group in _groups(indices, first, last, S, PIECE // max(S * frame_cost, 1)):
        window = group.windows[0]
        if window.length >= ALONE or len(group.windows) * S == 1:
            for each in group.windows:
                yield from _alone(group.expert, each, S, G, T)
            continue
        waiting.append(group)
        rows += len(group.windows) * S * window.length
        if rows >= INDEXED:
            yield _gathered(waiting, S, G, T)
            waiting, rows = [], 0
    if waiting:
        yield _gathered(waiting, S, G, T)


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
    parts = [Part(expert, 1, slice(0, length), slice(0, 1))]
    for stream in range(clip * S, clip * S + S):
        pair = stream * G + routed % G
        frames, weights, bits = (slice(row * T + begin, row * T + begin + length) for row in (stream, routed, pair))
        yield Piece(parts, frames, weights, bits, slice(pair, pair + 1), None)


def _gathered(groups: list[Group], S: int, G: int, T: int) -> Piece:
    """Shorter windows are moved, not cut: each holds the same number of frames of its clip."""
    values = [(*window, group.windows[0].length) for group in groups for window in group.windows]
    length, clip, routed, begin, longest = torch.tensor(values).repeat_interleave(S, 0).unbind(1)  # [n] each
    stream = clip * S + torch.arange(S).repeat(len(values))
    pairs = stream * G + routed % G
    moved = torch.minimum(begin, T - longest)
    count = longest.cumsum(0)
    start = moved - (count - longest)  # of a window, less the rows before it
    bases = torch.stack((stream * T + start, routed * T + start, pairs * T + start, start - begin))
    rows = bases.repeat_interleave(longest, 1)
    rows += torch.arange(rows.shape[1])
    frames, weights, bits, place = rows.unbind(0)
    outside = None
    if any(group.windows[0].length != group.windows[-1].length for group in groups):
        outside = (place < 0) | (place >= length.repeat_interleave(longest))
    return Piece(list(_parts(groups, S)), frames, weights, bits, pairs, outside)


def _parts(groups: list[Group], S: int) -> Iterator[Part]:
    row = pair = 0
    for expert, windows in groups:
        c = len(windows) * S
        part = Part(expert, c, slice(row, row + c * windows[0].length), slice(pair, pair + c))
        yield part
        row, pair = part.rows.stop, part.pairs.stop
