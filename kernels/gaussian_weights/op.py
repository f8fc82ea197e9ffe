"""The operator `gaussian_moe::gaussian_weights`: registration, shapes, autograd.

B batch, G Gaussians of one clip, T frames. Wide is float32 or float64.
"""

from __future__ import annotations

from typing import Any, Optional

import torch
from torch import Tensor

from .. import runtime
from . import eager

# The schema is read from these annotations by torch, which on older releases knows Optional only.


@torch.library.custom_op("gaussian_moe::gaussian_weights", mutates_args=(), device_types=("cpu", "cuda"))
def gaussian_weights(
    centers: Tensor,  # [B, G] wide
    stds: Tensor,  # [B, G] wide
    times: Optional[Tensor],  # noqa: UP045  [B, T] wide; None = evenly spaced over the valid frames
    lengths: Optional[Tensor],  # noqa: UP045  [B] int, valid frames at the start
    padding: Optional[Tensor],  # noqa: UP045  [B, T] bool, True = ignore; not together with lengths
    num_frames: int,
) -> Tensor:  # [B, G, T] wide
    """`exp(l_t - max_j l_j)`, `l_t = -(t - center)^2 / (2 std^2)`, over the valid frames; 0 for padding.

    Times take no gradient.
    """
    if runtime.runs_triton(centers.device):
        from . import launch

        return launch.weights_forward(centers, stds, times, lengths, padding, num_frames)
    return eager.weights_forward(centers, stds, times, lengths, padding, num_frames)


@torch.library.custom_op("gaussian_moe::gaussian_weights_backward", mutates_args=(), device_types=("cpu", "cuda"))
def gaussian_weights_backward(
    grad: Tensor,  # [B, G, T] wide
    centers: Tensor,  # [B, G] wide
    stds: Tensor,  # [B, G] wide
    times: Optional[Tensor],  # noqa: UP045
    lengths: Optional[Tensor],  # noqa: UP045
    padding: Optional[Tensor],  # noqa: UP045
) -> tuple[Tensor, Tensor]:  # [B, G] each
    """Gradients of centers and stds."""
    if runtime.runs_triton(centers.device):
        from . import launch

        return launch.weights_backward(grad, centers, stds, times, lengths, padding)
    return eager.weights_backward(grad, centers, stds, times, lengths, padding)


@gaussian_weights.register_fake
def _(
    centers: Tensor,
    stds: Tensor,
    times: Tensor | None,
    lengths: Tensor | None,
    padding: Tensor | None,
    num_frames: int,
) -> Tensor:
    return centers.new_empty(*centers.shape, num_frames)


@gaussian_weights_backward.register_fake
def _(
    grad: Tensor,
    centers: Tensor,
    stds: Tensor,
    times: Tensor | None,
    lengths: Tensor | None,
    padding: Tensor | None,
) -> tuple[Tensor, Tensor]:
    return centers.new_empty(centers.shape), stds.new_empty(stds.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:5])


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    centers, stds, times, lengths, padding = ctx.saved_tensors
    return *gaussian_weights_backward(grad, centers, stds, times, lengths, padding), None, None, None, None


def _refuse(ctx: Any, *grads: Tensor) -> None:
    raise RuntimeError(runtime.no_double_backward("gaussian_weights"))


gaussian_weights.register_autograd(_backward, setup_context=_save)
gaussian_weights_backward.register_autograd(_refuse)
