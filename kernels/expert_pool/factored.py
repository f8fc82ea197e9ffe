"""The expert mixture in plain torch with the time sum taken before the second linear layer.

`sum_t g_t f_e(x_t) = W2_e S + (sum_t g_t) b2_e` with `S = sum_t g_t relu(W1_e x_t + b1_e)`: the second matrix
product loses its factor T. No host sync, no data-dependent shape, aten operations only: it compiles, exports and can
be differentiated twice.

B batch, S streams, Q questions of one clip, T frames, D channels, H hidden, E experts, K experts in use.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..expert_mix import expert_mix_reference
from ..per_expert import of_experts
from .activations import ACTIVATIONS


def expert_pool_factored(
    frames: Tensor,  # [B, S, T, D]
    gates: Tensor,  # [B, Q, K]
    indices: Tensor,  # [B, Q, K] int64
    weights: Tensor,  # [B, Q, K, T]
    weight1: Tensor,  # [E, H, D]
    bias1: Tensor,  # [E, H]
    weight2: Tensor,  # [E, D, H]
    bias2: Tensor,  # [E, D]
    released_order: bool = False,
    activation: str = "relu",
) -> Tensor:  # [B, Q, S, D]
    """Equal to `expert_pool_reference` for each question and stream; the experts' layers run in the frames' dtype.

    With another activation that one stands in the place of ReLU.
    """
    num_experts, num_used = weight1.shape[0], indices.shape[1] * indices.shape[2]
    # Gathering copies one W1 for each routed expert: it pays only where most of the experts would be idle.
    if released_order or frames.shape[2] == 1 or 2 * num_used >= num_experts:
        bank = (weight1, bias1, weight2, bias2)
        return _all_experts(frames, gates, indices, weights, *bank, released_order, activation)
    return _routed_experts(frames, gates, indices, weights, weight1, bias1, weight2, bias2, activation)


def _all_experts(
    frames: Tensor,
    gates: Tensor,
    indices: Tensor,
    weights: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    released_order: bool,
    activation: str,
) -> Tensor:
    B, S, T, _ = frames.shape
    E, H, D = weight1.shape
    _, Q, K, _ = weights.shape
    scaled = weights * gates.unsqueeze(-1)
    if released_order and B:
        grid = torch.arange(B * T, device=frames.device).remainder(B).view(B, 1, T)
        expert = indices[grid].movedim(-1, 2).reshape(B, Q, K, T)
    else:
        expert = indices.unsqueeze(-1).expand(B, Q, K, T)
    # One coefficient for every expert and frame; an expert that is not in use has 0.
    coefficient = scaled.new_zeros(B, Q, E, T).scatter_add(2, expert, scaled)
    hidden = ACTIVATIONS[activation](frames @ weight1.reshape(E * H, D).T + bias1.reshape(E * H)).view(B, S, T, E, H)
    state = torch.einsum("bqet,bsteh->bqseh", coefficient.to(hidden.dtype), hidden)
    pooled = state.reshape(B, Q, S, E * H) @ weight2.transpose(1, 2).reshape(E * H, weight2.shape[1])
    return pooled + (coefficient.sum(-1).to(bias2.dtype) @ bias2).unsqueeze(2)


def _routed_experts(
    frames: Tensor,
    gates: Tensor,
    indices: Tensor,
    weights: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    activation: str,
) -> Tensor:
    B, S, T, _ = frames.shape
    _, Q, K, _ = weights.shape
    _, H, D = weight1.shape
    expert = indices.reshape(B, Q * K)
    first = of_experts(weight1, expert).reshape(B, 1, Q * K * H, D)
    hidden = ACTIVATIONS[activation](
        frames @ first.transpose(-1, -2) + of_experts(bias1, expert).reshape(B, 1, 1, Q * K * H)
    )
    state = torch.einsum(
        "bgt,bstgh->bsgh", weights.reshape(B, Q * K, T).to(hidden.dtype), hidden.view(B, S, T, Q * K, H)
    )
    return expert_mix_reference(state.view(B, S, Q, K, H), weights.sum(-1), gates, indices, weight2, bias2)
