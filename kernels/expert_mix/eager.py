"""The experts' second layer on a CPU: one product for each expert in use, and no W2 of any other is read.

B batch, S streams, Q questions of one clip, K experts in use, D channels, H hidden, E experts; N = B Q K pairs of a
question and an expert of its own. Wide is float32, or float64 where the states are.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..product import product


def mix_forward(
    state: Tensor,  # [B, S, Q, K, H]
    mass: Tensor,  # [B, Q, K] wide
    gates: Tensor,  # [B, Q, K] wide
    indices: Tensor,  # [B, Q, K] int64
    weight2: Tensor,  # [E, D, H]
    bias2: Tensor,  # [E, D]
) -> Tensor:  # [B, Q, S, D]
    """`y_bqs = sum_k p_k (W2_e(k) S_k + M_k b2_e(k))`."""
    B, S, Q, K, _ = state.shape
    E, D, _ = weight2.shape
    order, runs = _sorted(indices, E)
    scaled = _by_pair(state, gates)[order]
    parts = [product(scaled[run].flatten(0, 1), weight2[e]) for e, run in runs]
    mixed = state.new_zeros(B * Q, S, D, dtype=mass.dtype)
    if parts:
        mixed.index_add_(0, order // K, torch.cat(parts).view(-1, S, D).to(mass.dtype))
    mixed += (_share(gates * mass, indices, bias2) @ bias2.to(mass.dtype)).view(B * Q, 1, D)
    return mixed.to(state.dtype).view(B, Q, S, D)


def mix_backward(
    grad: Tensor,  # [B, Q, S, D]
    state: Tensor,  # [B, S, Q, K, H]
    mass: Tensor,  # [B, Q, K] wide
    gates: Tensor,  # [B, Q, K] wide
    indices: Tensor,  # [B, Q, K] int64
    weight2: Tensor,  # [E, D, H]
    bias2: Tensor,  # [E, D]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of state, mass, gates, W2 and b2."""
    B, S, Q, K, H = state.shape
    (E, D, _), wide = weight2.shape, mass.dtype
    order, runs = _sorted(indices, E)
    scaled = _by_pair(state, gates)[order]
    upstream = grad.reshape(B * Q, S, D)[order // K]  # [N, S, D]
    back = state.new_empty(B * Q * K, S, H)  # W2^T dy
    dweight2 = weight2.new_empty(E, D, H)
    used = {e for e, _ in runs}
    dweight2[[e for e in range(E) if e not in used]] = 0
    for e, run in runs:
        given = upstream[run].flatten(0, 1)
        back[order[run]] = product(given, weight2[e].t()).view(-1, S, H)
        # Of few rows: bound by memory, so written in place rather than by the faster product.
        torch.mm(given.t(), scaled[run].flatten(0, 1), out=dweight2[e])
    back = back.view(B, Q, K, S, H).permute(0, 3, 1, 2, 4)  # [B, S, Q, K, H]
    summed = grad.sum(2, dtype=wide).view(B * Q, D)
    by_bias = (summed @ bias2.to(wide).t()).view(B, Q, E).gather(2, indices)  # <dy, b2_e>, [B, Q, K]
    dbias2 = _share(gates * mass, indices, bias2).t() @ summed
    dgates = (back.to(wide) * state).sum((1, -1)) + mass * by_bias
    dstate = (back * gates.unsqueeze(1).unsqueeze(-1)).to(state.dtype)
    # As the operator announces them: graphs are compiled for these strides.
    dmass = (gates * by_bias).contiguous()
    return dstate.contiguous(), dmass, dgates.contiguous(), dweight2, dbias2.to(bias2.dtype)


def _by_pair(state: Tensor, gates: Tensor) -> Tensor:
    """`p_k S_k`, [N, S, H]"""
    scaled = (state * gates.unsqueeze(1).unsqueeze(-1)).to(state.dtype)
    return scaled.permute(0, 2, 3, 1, 4).flatten(0, 2)


def _sorted(indices: Tensor, num_experts: int) -> tuple[Tensor, list[tuple[int, slice]]]:
    """The N pairs in the order of their experts, and where in it each expert in use stands."""
    flat = indices.flatten()
    counts = flat.bincount(minlength=num_experts).tolist()
    return flat.argsort(stable=True), list(_runs(counts))


def _runs(counts: list[int]) -> Iterator[tuple[int, slice]]:
    start = 0
    for expert, count in enumerate(counts):
        if count:
            yield expert, slice(start, start + count)
        start += count


def _share(mass: Tensor, indices: Tensor, bias2: Tensor) -> Tensor:
    """How much of each expert's bias every question gets, [B Q, E]."""
    share = mass.new_zeros(*mass.shape[:-1], bias2.shape[0])
    return share.scatter_add_(-1, indices, mass).flatten(0, 1)
