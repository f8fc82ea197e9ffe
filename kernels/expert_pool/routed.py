"""Expert pooling by routed experts on a CPU: each expert's windows are gathered into products of cache size.

Of the hidden layer one bit an element is kept. This folder's README has the derivation.

B batch, S streams, G routed experts of one clip, T frames, D channels, H hidden, E experts; c windows of L frames
in one piece. Wide is float32, or float64 where the frames are.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..product import product
from .bits import pack, unpack, words
from .pieces import Piece, Rows


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
        x = _frames(frames, padding, piece)
        hidden = product(x, weight1[piece.expert], bias1[piece.expert], relu=True)
        if bits is not None:
            _put(bits, piece.bits, pack(hidden > 0))
        g = _weights(weights, piece).view(piece.windows, 1, -1)
        pooled = torch.bmm(g, hidden.to(g.dtype).view(piece.windows, -1, hidden.shape[1])).squeeze(1)
        _add(state, piece.pairs, pooled)


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
        e = piece.expert
        x = _frames(frames, padding, piece)
        g = _weights(weights, piece).view(-1, 1)
        mask = unpack(_take(bits, piece.bits), H, grad_state.dtype).view(piece.windows, -1, H)
        passed = (mask * _take(grad_state, piece.pairs).unsqueeze(1)).view(-1, H)  # A_t, [c L, H]
        back = product(passed, weight1[e].t()).to(wide)  # W1^T A_t, [c L, D]
        dg = (back * x).sum(-1) + (passed @ bias1[e]).to(wide)
        if piece.outside is not None:
            dg.masked_fill_(piece.outside, 0.0)
        _add(dweights, piece.weights, dg)
        _add(dframes, piece.frames, back.mul_(g))
        passed = (passed * g).to(x.dtype)
        dweight1[e] += product(passed.t(), x.t())
        dbias1[e] += passed.sum(0)
    return dframes, dweight1, dbias1, dweights


def byte_rows(bits: Tensor, hidden: int) -> Tensor:
    """The bits [B, S, G, T, words] as one row of bytes for each frame of each pair."""
    return bits.view(torch.uint8).view(-1, 4 * words(hidden))


def _frames(frames: Tensor, padding: Tensor | None, piece: Piece) -> Tensor:
    """A piece's frames [c L, D]; padding as 0, since a weight of 0 does not silence a NaN."""
    x = _take(frames, piece.frames)
    return x if padding is None else x.masked_fill(_take(padding, piece.frames).unsqueeze(-1), 0.0)


def _weights(weights: Tensor, piece: Piece) -> Tensor:
    g = _take(weights, piece.weights)
    return g if piece.outside is None else g.masked_fill_(piece.outside, 0.0)


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
