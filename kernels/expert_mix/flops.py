"""Floating-point operations of `gaussian_moe::expert_mix`, for `torch.utils.flop_counter`.

B batch, S streams, Q questions of one clip, K experts in use, D channels, H hidden, E experts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

# Registers the operators that the formulas are for.
from . import op  # noqa: F401


@register_flop_formula(torch.ops.gaussian_moe.expert_mix)
def forward(
    state_shape: tuple[int, ...],
    mass_shape: tuple[int, ...],
    gates_shape: tuple[int, ...],
    indices_shape: tuple[int, ...],
    weight2_shape: tuple[int, ...],
    bias2_shape: tuple[int, ...],
    **options: Any,
) -> int:
    """One product with W2 for every routed expert, and the questions' shares of the biases."""
    B, S, Q, K, H = state_shape
    E, D, _ = weight2_shape
    return 2 * B * Q * D * (S * K * H + E)


@register_flop_formula(torch.ops.gaussian_moe.expert_mix_backward)
def backward(
    grad_shape: tuple[int, ...],
    state_shape: tuple[int, ...],
    mass_shape: tuple[int, ...],
    gates_shape: tuple[int, ...],
    indices_shape: tuple[int, ...],
    weight2_shape: tuple[int, ...],
    bias2_shape: tuple[int, ...],
    **options: Any,
) -> int:
    """For each product of the forward pass two: one for the states and one for W2, and so for masses and biases."""
    return 2 * forward(state_shape, mass_shape, gates_shape, indices_shape, weight2_shape, bias2_shape)
