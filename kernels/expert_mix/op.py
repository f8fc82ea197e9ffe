"""The operator `gaussian_moe::expert_mix`, for CPUs: registration, shapes, autograd.

B batch, S streams, Q questions of one clip, K experts in use, D channels, H hidden, E experts. Wide is float32, or
float64 where the states are.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor

from .. import runtime
from ..flop_counting import tell_running_counters
from . import eager


def count_flops() -> None:
    """Tells PyTorch's FLOP counter about this operator, where the counter is in use."""
    if "torch.utils.flop_counter" in sys.modules:
        from . import flops  # noqa: F401  # registers on import

        tell_running_counters()


@torch.library.custom_op("gaussian_moe::expert_mix", mutates_args=(), device_types="cpu")
def expert_mix(
    state: Tensor,  # [B, S, Q, K, H]
    mass: Tensor,  # [B, Q, K] wide
    gates: Tensor,  # [B, Q, K] wide
    indices: Tensor,  # [B, Q, K] int64
    weight2: Tensor,  # [E, D, H]
    bias2: Tensor,  # [E, D]
) -> Tensor:
    """`y_bqs = sum_k p_k (W2_e(k) S_k + M_k b2_e(k))`, [B, Q, S, D] in the states' dtype, which is that of the bank."""
    with torch.autocast("cpu", enabled=False):
        return eager.mix_forward(state, mass, gates, indices, weight2, bias2)


@torch.library.custom_op("gaussian_moe::expert_mix_backward", mutates_args=(), device_types="cpu")
def expert_mix_backward(
    grad: Tensor,  # [B, Q, S, D]
    state: Tensor,
    mass: Tensor,
    gates: Tensor,
    indices: Tensor,
    weight2: Tensor,
    bias2: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of state, mass, gates, weight2 and bias2."""
    with torch.autocast("cpu", enabled=False):
        return eager.mix_backward(grad, state, mass, gates, indices, weight2, bias2)


@expert_mix.register_fake
def _(state: Tensor, mass: Tensor, gates: Tensor, indices: Tensor, weight2: Tensor, bias2: Tensor) -> Tensor:
    count_flops()
    B, S, Q, _, _ = state.shape
    return state.new_empty(B, Q, S, weight2.shape[1])


@expert_mix_backward.register_fake
def _(
    grad: Tensor, state: Tensor, mass: Tensor, gates: Tensor, indices: Tensor, weight2: Tensor, bias2: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    dstate, dmass, dgates, dweight2, dbias2 = (x.new_empty(x.shape) for x in (state, mass, gates, weight2, bias2))
    return dstate, dmass, dgates, dweight2, dbias2


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    dstate, dmass, dgates, dweight2, dbias2 = expert_mix_backward(grad, *ctx.saved_tensors)
    return dstate, dmass, dgates, None, dweight2, dbias2


def _refuse(ctx: Any, *grads: Tensor) -> None:
    raise RuntimeError(runtime.no_double_backward("expert_mix"))


expert_mix.register_autograd(_backward, setup_context=_save)
expert_mix_backward.register_autograd(_refuse)
