"""The experts' second layer, taken after the sum over time, and the mixture by the gates, in aten operations only.

B batch, S streams, Q questions of one clip, K experts in use, D channels, H hidden, E experts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..per_expert import of_experts

FEW = 4
"""Matrices that may be copied: more would be fetched from the system anew for every call."""


def expert_mix_reference(
    state: Tensor,  # [B, S, Q, K, H], sum_t g_t relu(W1_e x_t + b1_e)
    mass: Tensor,  # [B, Q, K] wide, sum_t g_t
    gates: Tensor,  # [B, Q, K]
    indices: Tensor,  # [B, Q, K] int64
    weight2: Tensor,  # [E, D, H]
    bias2: Tensor,  # [E, D]
) -> Tensor:  # [B, Q, S, D]
    """`sum_k p_k (W2_e(k) S_k + (sum_t g_kt) b2_e(k))`."""
    B, S, Q, K, H = state.shape
    E, D, _ = weight2.shape
    dtype, clips = state.dtype, B * Q * S
    scaled = (state * gates.unsqueeze(1).unsqueeze(-1)).transpose(1, 2).to(dtype)  # [B, Q, S, K, H]
    mass = gates * mass
    share = mass.new_zeros(B, Q, E).scatter_add(2, indices, mass)
    expert = indices.unsqueeze(2).expand(B, Q, S, K)
    if not torch.compiler.is_exporting() and clips * K <= FEW and 3 * clips * K < E:
        # Copying the few matrices in use is cheaper than reading all.
        pooled = torch.einsum("bqskh,bqskdh->bqsd", scaled, of_experts(weight2, expert))
    else:
        row = expert * clips + torch.arange(clips, device=state.device).view(B, Q, S, 1)
        by_expert = torch.zeros(E * clips, H, dtype=dtype, device=state.device)
        by_expert = by_expert.index_add(0, row.flatten(), scaled.reshape(clips * K, H))
        pooled = torch.bmm(by_expert.view(E, clips, H), weight2.transpose(1, 2)).sum(0).view(B, Q, S, D)
    return pooled + (share.to(dtype) @ bias2).unsqueeze(2)
