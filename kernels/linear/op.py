"""The operator `gaussian_moe::linear`, for float32 on CPUs: registration, shapes, autograd.

M rows, N output channels, P input channels.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor

from ..flop_counting import tell_running_counters
from ..product import product, product_over_rows


def count_flops() -> None:
    """Tells PyTorch's FLOP counter about this operator, where the counter is in use."""
    if "torch.utils.flop_counter" in sys.modules:
        from . import flops  # noqa: F401  # registers on import

        tell_running_counters()


@torch.library.custom_op("gaussian_moe::linear", mutates_args=(), device_types="cpu")
def linear(
    x: Tensor,  # [M, P]
    weight: Tensor,  # [N, P]
    bias: Tensor | None,  # [N]
) -> Tensor:
    """`x W^T + b`, [M, N]; either matrix may be a transposed view."""
    return product(x, weight, bias)


@torch.library.custom_op("gaussian_moe::linear_weight_gradient", mutates_args=(), device_types="cpu")
def weight_gradient(
    grad: Tensor,  # [M, N]
    x: Tensor,  # [M, P]
) -> Tensor:
    """`grad^T x`, [N, P]."""
    return product_over_rows(grad, x)


@linear.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    count_flops()
    return x.new_empty(x.shape[0], weight.shape[0])


@weight_gradient.register_fake
def _(grad: Tensor, x: Tensor) -> Tensor:
    return x.new_empty(grad.shape[1], x.shape[1])


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """By operators that have gradients themselves, so that gradients of gradients exist."""
    x, weight = ctx.saved_tensors
    wants_x, wants_weight, wants_bias = ctx.needs_input_grad
    dx = linear(grad, weight.t(), None) if wants_x else None
    dweight = weight_gradient(grad, x) if wants_weight else None
    return dx, dweight, grad.sum(0) if wants_bias else None


def _save_rows(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward_of_rows(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
    first, second = ctx.saved_tensors
    wants_first, wants_second = ctx.needs_input_grad
    return (
        linear(second, grad, None) if wants_first else None,
        linear(first, grad.t(), None) if wants_second else None,
    )


linear.register_autograd(_backward, setup_context=_save)
weight_gradient.register_autograd(_backward_of_rows, setup_context=_save_rows)
