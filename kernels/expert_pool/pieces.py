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
SLACK = 4
"""A window joins a piece if that makes it longer by less than a 1/SLACK of itself."""

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


def cut(
    indices: Tensor,  # [B, G] int64
    first: Tensor,  # [B, G] int64
    last: Tensor,  # [B, G] int64
    num_streams: int,
    num_frames: int,
) -> Iterator[Piece]:
    """Every frame of every window [first, last) once, grouped by expert; the same for the same arguments."""
    S, G, T = num_streams, indices.shape[1], num_frames
    windows: dict[int, list[tuple[int, int, int]]] = {}
    routed = zip(indices.flatten().tolist(), first.flatten().tolist(), last.flatten().tolist(), strict=True)
    for pair, (expert, start, end) in enumerate(routed):
        for begin in range(start, end, ROWS):
            windows.setdefault(expert, []).append((min(end - begin, ROWS), pair, begin))
    for expert in sorted(windows):
        group = sorted(windows[expert], reverse=True)
        while group:
            longest = group[0][0]
            most = max(ROWS // (longest * S), 1)
            count = sum(1 for length, _, _ in group[:most] if length * (SLACK + 1) >= longest * SLACK)
            if count * S == 1:
                yield _one(expert, group[0], G, T)
            else:
                yield _several(expert, group[:count], S, G, T)
            group = group[count:]


def _one(expert: int, window: tuple[int, int, int], G: int, T: int) -> Piece:
    """A single window is a run of rows everywhere."""
    length, pair, begin = window
    frames, weights = (slice(row * T + begin, row * T + begin + length) for row in (pair // G, pair))
    return Piece(expert, 1, slice(pair, pair + 1), frames, weights, weights, None)


def _several(expert: int, group: list[tuple[int, int, int]], S: int, G: int, T: int) -> Piece:
    longest = group[0][0]
    # Shorter windows are moved, not cut: each holds the same number of frames of its clip.
    length, pair, begin = torch.tensor(group).repeat_interleave(S, 0).unsqueeze(-1).unbind(1)  # [c, 1]
    number = begin.clamp(max=T - longest) + torch.arange(longest)  # [c, L]
    outside = None
    if group[-1][0] != longest:
        outside = ((number < begin) | (number >= begin + length)).flatten()
    stream = torch.arange(S).repeat(len(group)).unsqueeze(-1)
    streams = pair // G * S + stream
    pairs = streams * G + pair % G
    frames, weights, bits = ((row * T + number).flatten() for row in (streams, pair, pairs))
    return Piece(expert, len(pairs), pairs.flatten(), frames, weights, bits, outside)
