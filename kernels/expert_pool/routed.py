"""Expert pooling by routed experts on a CPU: each expert's windows are gathered into products of cache size.

Of the hidden layer one bit an element is kept. This folder's README has the derivation.

B batch, S streams, G routed experts of one clip, T frames, D channels, H hidden, E experts; c windows of L frames
in one part. Wide is float32, or float64 where the frames are.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..product import product
from .bits import pack, unpack, words
from .pieces import Piece, Rows, part_of


def forward(
    frames: Tensor,  # [B S T, D]
    weight1: Tensor,  # [E, H, D]
    bias1: Tensor,  # [E, H]
    weights: Tensor,  # [B G T] wide
    padding: Tensor | None,  # [B S T] bool
    pieces: Iterable[Piece],
    state: Tensor,  # [B S G, H] wide, 0; is added to
    bits: Tensor | None,  # [B S G T, 4 words] uint8; is written to
) -> None:
    """Adds `sum_t g_t relu(W1_e x_t + b1_e)` of every piece."""
    for piece in pieces:
        g = _weights(weights, piece)
        pooled = []
        for expert, windows, rows, _ in piece.parts:
            x = _frames(frames, padding, part_of(piece.frames, rows))
            hidden = product(x, weight1[expert], bias1[expert], relu=True)
            if bits is not None:
                _put(bits, part_of(piece.bits, rows), pack(hidden > 0))
            hidden = hidden.to(g.dtype).view(windows, -1, hidden.shape[1])
            pooled.append(torch.bmm(g[rows].view(windows, 1, -1), hidden))
        _add(state, piece.pairs, _joined(pooled).squeeze(1))


def backward(
    grad_state: Tensor,  # [B S G, H]
    frames: Tensor,  # [B S T, D]
    weight1: Tensor,  # [E, H, D]
    bias1: Tensor,  # [E, H]
    weights: Tensor,  # [B G T] wide
    padding: Tensor | None,  # [B S T] bool
    pieces: Iterable[Piece],
    bits: Tensor,  # [B S G T, 4 words] uint8
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of frames [B S T, D], W1, b1 and weights [B G T], all wide."""
    E, H, D = weight1.shape
    wide = weights.dtype
    dframes, dweights = frames.new_zeros(frames.shape, dtype=wide), torch.zeros_like(weights)
    dweight1, dbias1 = weight1.new_zeros((E, H, D), dtype=wide), bias1.new_zeros((E, H), dtype=wide)
    for piece in pieces:
        g, upstream = _weights(weights, piece).unsqueeze(-1), _take(grad_state, piece.pairs).unsqueeze(1)
        by_weight = []
        for e, windows, rows, pairs in piece.parts:
            place = part_of(piece.frames, rows)
            x = _frames(frames, padding, place)
            mask = unpack(_take(bits, part_of(piece.bits, rows)), H, grad_state.dtype).view(windows, -1, H)
            passed = (mask * upstream[pairs]).view(-1, H)  # A_t, [c L, H]
            back = product(passed, weight1[e].t()).to(wide)  # W1^T A_t, [c L, D]
            by_weight.append((back * x).sum(-1) + (passed @ bias1[e]).to(wide))
            _add(dframes, place, back.mul_(g[rows]))
            passed = (passed * g[rows]).to(x.dtype)
            dweight1[e] += product(passed.t(), x.t())
            dbias1[e] += passed.sum(0)
        dg = _joined(by_weight)
        _add(dweights, piece.weights, dg if piece.outside is None else dg.masked_fill_(piece.outside, 0.0))
    return dframes, dweight1, dbias1, dweights


def byte_rows(bits: Tensor, hidden: int) -> Tensor:
    """The bits [B, S, G, T, words] as one row of bytes for each frame of each pair."""
    return bits.view(torch.uint8).view(-1, 4 * words(hidden))


def _frames(frames: Tensor, padding: Tensor | None, rows: Rows) -> Tensor:
    """A part's frames [c L, D]; padding as 0, since a weight of 0 does not silence a NaN."""
    x = _take(frames, rows)
    return x if padding is None else x.masked_fill(_take(padding, rows).unsqueeze(-1), 0.0)


def _weights(weights: Tensor, piece: Piece) -> Tensor:
    g = _take(weights, piece.weights)
    return g if piece.outside is None else g.masked_fill_(piece.outside, 0.0)


def _joined(values: list[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.cat(values)


def _take(values: Tensor, rows: Rows) -> Tensor:
    return values[rows] if isinstance(rows, slice) else values.index_select(0, rows)


def _put(values: Tensor, rows: Rows, new: Tensor) -> None:
    if isinstance(rows, slice):
        values[rows] = new
    else:
        values.index_copy_(0, rows, new)


def _add(values: Tensor, rows: Rows, more: Tensor) -> None:
    if isinstance(rows, slice):
        values[rows] += more
    else:
        values.index_add_(0, rows, more)
