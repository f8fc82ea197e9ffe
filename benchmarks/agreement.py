"""How far results are from float64, and how far they may be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

FLOAT32_BOUND = 1e-4
EPS = {"tf32": 2.0**-10, "bfloat16": 2.0**-7, "float16": 2.0**-10}
"""Rounding of the narrower dtypes, relative."""
SMALL_GRADIENT = 1e-3
"""A gradient whose largest value is below this part of the largest of all is measured against that part."""


@dataclass(frozen=True)
class Exact:
    """The result in float64, and the gradients in the order of an implementation's leaves."""

    output: Tensor
    gradients: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class Errors:
    """Largest differences from float64, relative to the largest value."""

    output: float
    gradients: float | None = None
    worst: str = ""
    """The leaf whose gradient is the farthest off."""


@dataclass(frozen=True)
class Bounds:
    """How large the errors may be."""

    output: float
    gradients: float

    def fault(self, errors: Errors) -> str | None:
        """What is wrong, or None. An error that is NaN is wrong."""
        if not errors.output <= self.output:
            return f"the result differs from float64 by {errors.output:.1e}; at most {self.output:.1e} is accepted"
        if errors.gradients is not None and not errors.gradients <= self.gradients:
            return (
                f"the gradient of {errors.worst} differs from float64 by {errors.gradients:.1e}; "
                f"at most {self.gradients:.1e} is accepted"
            )
        return None


def bounds(dtype: str, plain: Errors | None) -> Bounds:
    """The bounds in this dtype.

    Args:
        dtype: of the case.
        plain: the errors of the factored computation in plain torch in this dtype. Below float32 the bound is twice
            those, though never so tight that luck decides: 2 roundings of the result, 4 of a gradient. Plain
            torch itself may be off by 16.
    """
    if dtype == "float32":
        return Bounds(FLOAT32_BOUND, FLOAT32_BOUND)
    assert plain is not None
    eps = EPS[dtype]

    def bound(error: float, least: float) -> float:
        # A plain result that is NaN or far off is no yardstick: then nothing passes.
        return max(2 * error, least) if error <= 16 * eps else 0.0

    return Bounds(bound(plain.output, 2 * eps), bound(plain.gradients or 0.0, 4 * eps))


@torch.no_grad()
def compare(output: Tensor, gradients: Sequence[Tensor] | None, names: Sequence[str], exact: Exact) -> Errors:
    """The errors of a result and, where there are some, of the gradients of the leaves of these names."""
    error = _difference(output, exact.output, 0.0)
    if gradients is None:
        return Errors(error)
    assert exact.gradients is not None
    floor = SMALL_GRADIENT * max(_largest(gradient) for gradient in exact.gradients)
    pairs = zip(gradients, exact.gradients, strict=True)
    found = {name: _difference(*pair, floor) for name, pair in zip(names, pairs, strict=True)}
    # NaN compares with nothing: it has to come first by name.
    worst = max(found, key=lambda name: math.inf if math.isnan(found[name]) else found[name])
    return Errors(error, found[worst], worst)


def _difference(got: Tensor, want: Tensor, floor: float) -> float:
    if got.shape != want.shape:
        return math.inf
    scale = max(_largest(want), floor)
    return float((got.double() - want).abs().max()) / scale if got.numel() else 0.0


def _largest(tensor: Tensor) -> float:
    return float(tensor.abs().max()) if tensor.numel() else 0.0
