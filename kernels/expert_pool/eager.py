"""Expert pooling in plain torch with its own backward: what the op runs on a CPU.

B batch, S streams, G routed experts of one clip, T frames, D channels, H hidden, E experts. Wide is float32, or
float64 where the frames are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..gaussian_weights.eager import frame_padding, weights_backward, weights_forward, windows
from . import dense, routed
from .bits import words
from .pieces import PIECE, cut

GATHER = 200
"""What gathering one channel of a frame costs, in multiplications: it waits for memory, a product does not."""


def pool_forward(
    frames: Tensor,  # [B, S, T, D]
    weight1: Tensor,  # [E, H, D]
    bias1: Tensor,  # [E, H]
    indices: Tensor,  # [B, G] int64
    weights: Tensor | None,  # [B, G, T] wide
    centers: Tensor | None,  # [B, G] wide
    stds: Tensor | None,  # [B, G] wide
    times: Tensor | None,  # [B, T] wide
    lengths: Tensor | None,  # [B] int
    padding: Tensor | None,  # [B, T] bool
    epsilon: float,
    save_bits: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """`S_bsg = sum_t g_bgt relu(W1_e x_bst + b1_e)`, the mass `sum_t g_bgt`, and where the hidden layer is above 0.

    Returns:
        [B, S, G, H] in the frames' dtype; [B, G] wide; [B, S, G, T, ceil(H/32)] int32, or [0] unless `save_bits`
        (0 for short clips, whose hidden layer is computed again, and for frames out of reach).
    """
    B, S, T, D = frames.shape
    H, G = weight1.shape[1], indices.shape[1]
    weights, padding = _weights(weights, centers, stds, times, lengths, padding, T)
    bits = torch.zeros((B, S, G, T, words(H)) if save_bits else (0,), dtype=torch.int32)
    if _prefers_dense(B, S * T, G, weight1):
        by_stream = (x.repeat_interleave(S, 0) if S > 1 else x for x in (indices, weights))
        state = dense.forward(_emptied(frames, padding).reshape(B * S, T, D), weight1, bias1, *by_stream)
    else:
        pieces = cut(indices, *_windows(weights, epsilon if centers is not None else 0.0), S, T, H * D)
        state = weights.new_zeros(B * S * G, H)
        rows = routed.byte_rows(bits, H) if save_bits else None
        flat = (frames.reshape(B * S * T, D), weight1, bias1, weights.view(-1), _by_stream(padding, S))
        routed.forward(*flat, pieces, state, rows)
    return state.to(frames.dtype).view(B, S, G, H), weights.sum(-1), bits


def pool_backward(
    grad_state: Tensor,  # [B, S, G, H]
    grad_mass: Tensor,  # [B, G] wide
    frames: Tensor,  # [B, S, T, D]
    weight1: Tensor,  # [E, H, D]
    bias1: Tensor,  # [E, H]
    indices: Tensor,  # [B, G] int64
    weights: Tensor | None,  # [B, G, T] wide
    centers: Tensor | None,  # [B, G] wide
    stds: Tensor | None,  # [B, G] wide
    times: Tensor | None,  # [B, T] wide
    lengths: Tensor | None,  # [B] int
    padding: Tensor | None,  # [B, T] bool
    bits: Tensor,  # [B, S, G, T, ceil(H/32)] int32
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of frames, W1, b1, and of weights or of centers and stds, whichever the forward pass was given."""
    B, S, T, D = frames.shape
    H, G = weight1.shape[1], indices.shape[1]
    given = weights is not None
    weights, mask = _weights(weights, centers, stds, times, lengths, padding, T)
    if _prefers_dense(B, S * T, G, weight1):
        by_stream = (x.repeat_interleave(S, 0) if S > 1 else x for x in (indices, weights))
        emptied = _emptied(frames, mask).reshape(B * S, T, D)
        found = dense.backward(grad_state.reshape(B * S, G, H), emptied, weight1, bias1, *by_stream)
        dframes, dweight1, dbias1, dweights = found
        dweights = dweights.view(B, S, G, T).sum(1)
        if mask is not None:
            dframes = dframes.view(frames.shape).masked_fill_(mask[:, None, :, None], 0.0)
    else:
        pieces = cut(indices, *_windows(weights, epsilon if centers is not None else 0.0), S, T, H * D)
        flat = (frames.reshape(B * S * T, D), weight1, bias1, weights.view(-1), _by_stream(mask, S))
        found = routed.backward(grad_state.reshape(B * S * G, H), *flat, pieces, routed.byte_rows(bits, H))
        dframes, dweight1, dbias1, dweights = found
    dweights = dweights.view(B, G, T) + grad_mass.unsqueeze(-1)
    shared = dframes.view(frames.shape).to(frames.dtype), dweight1.to(weight1.dtype), dbias1.to(bias1.dtype)
    if given:
        return *shared, dweights if mask is None else dweights.masked_fill_(mask.unsqueeze(1), 0.0), None, None
    assert centers is not None
    assert stds is not None
    return *shared, None, *weights_backward(dweights, centers, stds, times, lengths, padding)


def _prefers_dense(B: int, rows: int, G: int, weight1: Tensor) -> bool:
    """One product over all experts costs less than one for each in use; decided by sizes alone, `rows` a clip."""
    E, H, D = weight1.shape
    # A Gaussian's window is about 0.6 of its clip.
    routed_cost = 0.6 * B * rows * G * (H + GATHER) * D + min(E, B * G) * PIECE
    return B * rows * E * H * D <= routed_cost and B * rows * E * H <= 2**21


def _weights(
    weights: Tensor | None,
    centers: Tensor | None,
    stds: Tensor | None,
    times: Tensor | None,
    lengths: Tensor | None,
    padding: Tensor | None,
    num_frames: int,
) -> tuple[Tensor, Tensor | None]:
    """Weights [B, G, T] with 0 for padding, and the padding [B, T]."""
    mask = frame_padding(lengths, padding, num_frames)
    if weights is None:
        assert centers is not None
        assert stds is not None
        weights = weights_forward(centers, stds, times, lengths, padding, num_frames)
    elif mask is not None:
        weights = weights.masked_fill(mask.unsqueeze(1), 0.0)
    return weights.contiguous(), mask


def _windows(weights: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """The frames [first, last) that count, [B, G] each; all of them where the weights are whoever's they are."""
    if epsilon and weights.numel():
        return windows(weights, epsilon)
    first = torch.zeros(weights.shape[:-1], dtype=torch.int64)
    return first, torch.full_like(first, weights.shape[-1])


def _emptied(frames: Tensor, padding: Tensor | None) -> Tensor:
    return frames if padding is None else frames.masked_fill(padding[:, None, :, None], 0.0)


def _by_stream(padding: Tensor | None, S: int) -> Tensor | None:
    """[B, T] to [B S T]"""
    return None if padding is None else padding.unsqueeze(1).expand(-1, S, -1).reshape(-1)
