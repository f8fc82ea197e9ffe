"""Argument checks that need no values: shapes, dtypes and sizes. Each is a ValueError with the fix."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from . import _autocast


def positive(**sizes: int) -> None:
    """Every size is at least 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")


def heads_divide(dim: int, heads: int) -> None:
    """Attention splits the channels evenly over its heads."""
    positive(dim=dim, heads=heads)
    if dim % heads:
        raise ValueError(f"dim must be divisible by heads, got dim={dim} and heads={heads}")


def above_zero(**numbers: float) -> None:
    """Every number is above 0 and finite."""
    for name, number in numbers.items():
        if not 0.0 < number < math.inf:
            raise ValueError(f"{name} must be above 0 and finite, got {number}")


def probability(**rates: float) -> None:
    """A dropout rate is a probability below 1."""
    for name, rate in rates.items():
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"{name} must be in [0, 1), got {rate}")


def one_of(names: Sequence[str], **given: str) -> None:
    """What was given is one of these names."""
    for name, value in given.items():
        if value not in names:
            raise ValueError(f"{name} must be one of {', '.join(names)}, got {value!r}")


def tensors(**given: object) -> None:
    """What was given is a tensor, or None."""
    for name, value in given.items():
        if value is not None and not isinstance(value, Tensor):
            raise ValueError(f"{name} must be a tensor, got {type(value).__name__}; give torch.as_tensor({name})")


def shape(name: str, tensor: Tensor, wanted: Sequence[int | str]) -> None:
    """The tensor has the wanted shape; a string in `wanted` stands for any size."""
    fits = tensor.dim() == len(wanted) and all(
        isinstance(want, str) or size == want for size, want in zip(tensor.shape, wanted, strict=True)
    )
    if not fits:
        expected = ", ".join(str(size) for size in wanted)
        raise ValueError(f"{name} must have shape [{expected}], got {list(tensor.shape)}")


def int64(name: str, tensor: Tensor) -> None:
    """The tensor holds int64, as PyTorch's indices do."""
    if tensor.dtype != torch.int64:
        raise ValueError(f"{name} must be int64, got {tensor.dtype}; call {name}.long()")


def channels(name: str, tensor: Tensor, dims: Sequence[int | str], weight: Tensor) -> None:
    """The tensor is [*dims, D] and of the dtype of the layer's weight [..., D], which autocast makes needless."""
    shape(name, tensor, [*dims, weight.shape[-1]])
    if not tensor.is_floating_point():
        raise ValueError(
            f"{name} must be floating point, got {tensor.dtype}; embed it first if it holds ids, "
            f"else call {name}.to({weight.dtype})"
        )
    if tensor.dtype != weight.dtype and not _autocast.is_on(tensor.device.type):
        raise ValueError(
            f"{name} must have the layer's dtype {weight.dtype}, got {tensor.dtype}; "
            f"call {name}.to({weight.dtype}), or run under torch.autocast"
        )


def padding_mask(name: str, mask: Tensor | None, wanted: Sequence[int]) -> None:
    """A padding mask is bool with True = ignore, as in `torch.nn.MultiheadAttention`."""
    if mask is None:
        return
    if mask.dtype != torch.bool:
        raise ValueError(
            f"{name} must be bool with True = ignore, got {mask.dtype}; "
            f"a mask in which 1 means keep becomes one by ~mask.bool()"
        )
    shape(name, mask, wanted)
