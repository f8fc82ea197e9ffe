"""The operator `gaussian_moe::expert_pool`: registration, shapes, autograd.

B batch, S streams, G routed experts of one clip, T frames, D channels, H hidden, E experts. Wide is float32, or
float64 where the frames are.
"""

from __future__ import annotations

import sys
from typing import Any, Optional

import torch
from torch import Tensor

from .. import runtime
from ..flop_counting import tell_running_counters
from . import eager
from .bits import words

_EPSILON = {torch.float64: 0.0, torch.float32: 1e-8}


def reach_threshold(dtype: torch.dtype) -> float:
    """Frames that weigh less than this may be left out of a sum: the result stays within the dtype's rounding."""
    return _EPSILON.get(dtype, 1e-4)


def count_flops() -> None:
    """Tells PyTorch's FLOP counter about this operator, where the counter is in use.

    Importing the counter imports Triton, which importing the library must not do.
    """
    if "torch.utils.flop_counter" in sys.modules:
        from . import flops  # noqa: F401  # registers on import

        tell_running_counters()


# The schema is read from these annotations by torch, which on older releases knows Optional only.


@torch.library.custom_op("gaussian_moe::expert_pool", mutates_args=(), device_types=("cpu", "cuda"))
def expert_pool(
    frames: Tensor,  # [B, S, T, D]
    weight1: Tensor,  # [E, H, D]
    bias1: Tensor,  # [E, H]
    indices: Tensor,  # [B, G] int64
    weights: Optional[Tensor],  # noqa: UP045  [B, G, T] wide; or else
    centers: Optional[Tensor],  # noqa: UP045  [B, G] wide
    stds: Optional[Tensor],  # noqa: UP045  [B, G] wide
    times: Optional[Tensor],  # noqa: UP045  [B, T] wide; None = evenly spaced over the valid frames
    lengths: Optional[Tensor],  # noqa: UP045  [B] int, valid frames at the start
    padding: Optional[Tensor],  # noqa: UP045  [B, T] bool, True = ignore; not together with lengths
    epsilon: float,
    save_bits: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """`S_bsg = sum_t g_bgt relu(W1_e x_bst + b1_e)` with e = indices[b, g], and `sum_t g_bgt`.

    The weights g are given, or follow from centers and stds; then frames whose weight is below `epsilon` may be
    skipped. What padded frames hold does not matter. Times take no gradient.

    Returns:
        state [B, S, G, H] in the frames' dtype; mass [B, G] wide; where the hidden layer is above 0, one bit an
        element, [B, S, G, T, ceil(H/32)] int32, or [0] unless `save_bits`, which the backward pass needs.
    """
    inputs = (frames, weight1, bias1, indices, weights, centers, stds, times, lengths, padding)
    with _no_autocast(frames):
        if runtime.runs_triton(frames.device):
            from . import launch

            return launch.pool_forward(*inputs, epsilon, save_bits)
        return eager.pool_forward(*inputs, epsilon, save_bits)


@torch.library.custom_op("gaussian_moe::expert_pool_backward", mutates_args=(), device_types=("cpu", "cuda"))
def expert_pool_backward(
    grad_state: Tensor,  # [B, S, G, H]
    grad_mass: Tensor,  # [B, G] wide
    frames: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    indices: Tensor,
    weights: Optional[Tensor],  # noqa: UP045
    centers: Optional[Tensor],  # noqa: UP045
    stds: Optional[Tensor],  # noqa: UP045
    times: Optional[Tensor],  # noqa: UP045
    lengths: Optional[Tensor],  # noqa: UP045
    padding: Optional[Tensor],  # noqa: UP045
    bits: Tensor,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of frames, weight1 and bias1, and of weights and nothing, or of centers and stds."""
    inputs = (frames, weight1, bias1, indices, weights, centers, stds, times, lengths, padding, bits, epsilon)
    with _no_autocast(frames):
        if runtime.runs_triton(frames.device):
            from . import launch

            found = launch.pool_backward(grad_state, grad_mass, *inputs)
        else:
            found = eager.pool_backward(grad_state, grad_mass, *inputs)
    dframes, dweight1, dbias1, dweights, dcenters, dstds = found
    if dweights is not None:
        return dframes, dweight1, dbias1, dweights, dweights.new_empty(0)
    assert dcenters is not None
    assert dstds is not None
    return dframes, dweight1, dbias1, dcenters, dstds


def _no_autocast(frames: Tensor) -> torch.autocast:
    """The caller has cast what is to be cast; inside, every product keeps the dtype that it is given."""
    return torch.autocast(frames.device.type, enabled=False)


@expert_pool.register_fake
def _(
    frames: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    indices: Tensor,
    weights: Tensor | None,
    centers: Tensor | None,
    stds: Tensor | None,
    times: Tensor | None,
    lengths: Tensor | None,
    padding: Tensor | None,
    epsilon: float,
    save_bits: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    count_flops()
    B, S, T, _ = frames.shape
    G, H = indices.shape[1], weight1.shape[1]
    wide = torch.promote_types(frames.dtype, torch.float32)
    bits = (B, S, G, T, words(H)) if save_bits else (0,)
    return (
        frames.new_empty(B, S, G, H),
        frames.new_empty(B, G, dtype=wide),
        frames.new_empty(bits, dtype=torch.int32),
    )


@expert_pool_backward.register_fake
def _(
    grad_state: Tensor,
    grad_mass: Tensor,
    frames: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    indices: Tensor,
    weights: Tensor | None,
    centers: Tensor | None,
    stds: Tensor | None,
    times: Tensor | None,
    lengths: Tensor | None,
    padding: Tensor | None,
    bits: Tensor,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    shared = frames.new_empty(frames.shape), weight1.new_empty(weight1.shape), bias1.new_empty(bias1.shape)
    if weights is not None:
        return *shared, weights.new_empty(weights.shape), weights.new_empty(0)
    assert centers is not None
    assert stds is not None
    return *shared, centers.new_empty(centers.shape), stds.new_empty(stds.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, ctx.epsilon, ctx.saved_bits = inputs
    bits = output[2]
    ctx.save_for_backward(*tensors, bits)
    ctx.mark_non_differentiable(bits)


def _backward(ctx: Any, grad_state: Tensor, grad_mass: Tensor, grad_bits: Tensor) -> tuple[Tensor | None, ...]:
    if not ctx.saved_bits:
        raise RuntimeError("expert_pool was called with save_bits=False, and a gradient is asked for")
    # Asked for once: with activation checkpointing the forward pass runs again for them.
    saved = ctx.saved_tensors
    dframes, dweight1, dbias1, first, second = expert_pool_backward(grad_state, grad_mass, *saved, ctx.epsilon)
    given = saved[4] is not None
    profile = (first, None, None) if given else (None, first, second)
    return dframes, dweight1, dbias1, None, *profile, None, None, None, None, None


def _refuse(ctx: Any, *grads: Tensor) -> None:
    raise RuntimeError(runtime.no_double_backward("expert_pool"))


expert_pool.register_autograd(_backward, setup_context=_save)
expert_pool_backward.register_autograd(_refuse)
