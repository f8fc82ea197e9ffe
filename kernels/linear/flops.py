"""Floating-point operations of `gaussian_moe::linear`, for `torch.utils.flop_counter`.

M rows, N output channels, P input channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

# Registers the operators that the formulas are for.
from . import op  # noqa: F401


@register_flop_formula(torch.ops.gaussian_moe.linear)
def forward(
    x_shape: tuple[int, ...], weight_shape: tuple[int, ...], bias_shape: tuple[int, ...] | None, **options: Any
) -> int:
    """One product; the bias is not counted, as in aten's."""
    M, P = x_shape
    return 2 * M * P * weight_shape[0]


@register_flop_formula(torch.ops.gaussian_moe.linear_weight_gradient)
def weight_gradient(grad_shape: tuple[int, ...], x_shape: tuple[int, ...], **options: Any) -> int:
    """One product."""
    return 2 * grad_shape[0] * grad_shape[1] * x_shape[1]
