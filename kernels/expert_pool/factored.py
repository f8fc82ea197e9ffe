"""The expert mixture in plain torch with the time sum taken before the second linear layer.

`sum_t g_t f_e(x_t) = W2_e S + (sum_t g_t) b2_e` with `S = sum_t g_t relu(W1_e x_t + b1_e)`: the second matrix
product loses its factor T. No host sync, no data-dependent shape: it compiles and exports as it stands.

B batch, Q questions of one clip, T frames, D channels, H hidden, E experts, K experts in use.
"""

from __future__ import annotations

import torch
from torch import Tensor


def expert_pool_factored(
    frames: Tensor,  # [B, T, D]
    gates: Tensor,  # [B, Q, K]
    indices: Tensor,  # [B, Q, K] int64
    weights: Tensor,  # [B, Q, K, T]
    weight1: Tensor,  # [E, H, D]
    bias1: Tensor,  # [E, H]
    weight2: Tensor,  # [E, D, H]
    bias2: Tensor,  # [E, D]
    released_order: bool = False,
) -> Tensor:  # [B, Q, D]
    """Equal to `expert_pool_reference` for each question; the experts' layers run in the frames' dtype."""
    num_experts, num_used = weight1.shape[0], indices.shape[1] * indices.shape[2]
    scaled = weights * gates.unsqueeze(-1)
    # Gathering copies one W1 for each routed expert: it pays only where most of the experts would be idle.
    if released_order or 2 * num_used >= num_experts:
        return _all_experts(frames, scaled, indices, weight1, bias1, weight2, bias2, released_order)
    return _routed_experts(frames, scaled, indices, weight1, bias1, weight2, bias2)


def _all_experts(
    frames: Tensor,
    scaled: Tensor,  # [B, Q, K, T], gate times weight
    indices: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    released_order: bool,
) -> Tensor:
    B, T, _ = frames.shape
    E, H, D = weight1.shape
    _, Q, K, _ = scaled.shape
    if released_order and B:
        grid = torch.arange(B * T, device=frames.device).remainder(B).view(B, 1, T)
        expert = indices[grid].movedim(-1, 2).reshape(B, Q, K, T)
    else:
        expert = indices.unsqueeze(-1).expand(B, Q, K, T)
    # One coefficient for every expert and frame; an expert that is not in use has 0.
    coefficient = scaled.new_zeros(B, Q, E, T).scatter_add(2, expert, scaled)
    hidden = torch.relu(frames @ weight1.reshape(E * H, D).T + bias1.reshape(E * H)).view(B, T, E, H)
    state = torch.einsum("bqet,bteh->bqeh", coefficient.to(hidden.dtype), hidden)
    pooled = state.reshape(B, Q, E * H) @ weight2.transpose(1, 2).reshape(E * H, weight2.shape[1])
    return pooled + coefficient.sum(-1).to(bias2.dtype) @ bias2


def _routed_experts(
    frames: Tensor,
    scaled: Tensor,
    indices: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
) -> Tensor:
    B, T, _ = frames.shape
    _, Q, K, _ = scaled.shape
    _, H, D = weight1.shape
    expert = indices.reshape(B, Q * K)
    first = weight1[expert].reshape(B, Q * K * H, D)
    hidden = torch.relu(frames @ first.transpose(1, 2) + bias1[expert].reshape(B, 1, Q * K * H))
    scaled = scaled.reshape(B, Q * K, T)
    state = torch.einsum("bkt,btkh->bkh", scaled.to(hidden.dtype), hidden.view(B, T, Q * K, H))
    second = torch.einsum("bkh,bkdh->bkd", state, weight2[expert])
    pooled = second + scaled.sum(-1, keepdim=True).to(second.dtype) * bias2[expert]
    return pooled.view(B, Q, K, weight2.shape[1]).sum(2)
