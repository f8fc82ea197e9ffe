"""Floating-point operations of `gaussian_moe::expert_pool`, for `torch.utils.flop_counter`.

B batch, S streams, G routed experts of one clip, T frames, D channels, H hidden, E experts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

# Registers the operators that the formulas are for.
from . import op  # noqa: F401


@register_flop_formula(torch.ops.gaussian_moe.expert_pool)
def forward(
    frames_shape: tuple[int, ...],
    weight1_shape: tuple[int, ...],
    bias1_shape: tuple[int, ...],
    indices_shape: tuple[int, ...],
    *others: Any,
    **options: Any,
) -> int:
    """One product of frames with W1 and one sum over time, for all frames: what is skipped depends on values."""
    B, S, T, D = frames_shape
    return 2 * B * S * indices_shape[1] * T * weight1_shape[1] * (D + 1)


@register_flop_formula(torch.ops.gaussian_moe.expert_pool_backward)
def backward(
    grad_state_shape: tuple[int, ...],
    grad_mass_shape: tuple[int, ...],
    frames_shape: tuple[int, ...],
    weight1_shape: tuple[int, ...],
    bias1_shape: tuple[int, ...],
    indices_shape: tuple[int, ...],
    *others: Any,
    **options: Any,
) -> int:
    """A product for the frames and one for W1, and for each weight a product over channels and one over H."""
    B, S, T, D = frames_shape
    H = weight1_shape[1]
    return 2 * B * S * indices_shape[1] * T * (2 * H * D + D + H)
