"""Whether an implementation's loss and gradients are those of the published computation in float64.

B batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from .step import Batch, Precision, Sizes, TrainingStep, logits_of, make_model

CLIPS = 4
"""Of the batch at a time in float64: no clip sees another, and memory stays small."""
LEAST: dict[Precision, float] = {"float32": 1e-4, "bfloat16": 4 * 2.0**-7}
"""A bound is never tighter, so that luck does not decide: in bfloat16 this is 4 roundings."""
MOST: dict[Precision, float] = {"float32": 1e-2, "bfloat16": 64 * 2.0**-7}
"""Where the published computation itself is off by more, nothing passes: a dozen layers deep it is off by a tenth."""
SMALL_GRADIENT = 1e-2
"""A parameter's gradient whose norm is below this part of the whole gradient's is measured against that part."""


@dataclass(frozen=True)
class Exact:
    """The published computation's loss and gradients in float64, under the published names."""

    loss: float
    gradients: dict[str, Tensor]


@dataclass(frozen=True)
class Errors:
    """Differences from float64, relative: the loss, and the norm of the gradient that is the farthest off."""

    loss: float
    gradient: float
    worst: str
    """Whose gradient that is."""

    @property
    def largest(self) -> float:
        """The larger of both; NaN where one is."""
        return math.nan if math.isnan(self.loss) or math.isnan(self.gradient) else max(self.loss, self.gradient)


def exact(sizes: Sizes, state: dict[str, Tensor], batch: Batch) -> Exact:
    """The yardstick: eval mode, a few clips at a time."""
    model = make_model("published", sizes, state).to(batch.answers.device, torch.float64).eval()
    total = 0.0
    for start in tqdm(range(0, sizes.B, CLIPS), desc="float64", leave=False):
        part = batch.part(start, start + CLIPS, torch.float64)
        loss = F.cross_entropy(logits_of(model(*part.inputs)), part.answers, reduction="sum") / sizes.B
        torch.autograd.backward(loss)
        total += loss.item()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return Exact(total, {name: gradient for name, gradient in gradients.items() if gradient is not None})


def errors(step: TrainingStep, wanted: Exact) -> Errors:
    """How far an implementation is from float64; a gradient that is missing is infinitely far."""
    loss, gradients = step.gradients()
    return compared(loss, gradients, wanted)


def compared(loss: float, gradients: Mapping[str, Tensor], wanted: Exact) -> Errors:
    """How far a loss and gradients are from float64."""
    norms = {name: float(gradient.norm()) for name, gradient in wanted.gradients.items()}
    floor = SMALL_GRADIENT * math.hypot(*norms.values())
    found: dict[str, float] = {}
    for name, gradient in wanted.gradients.items():
        got = gradients.get(name)
        off = math.inf if got is None or got.shape != gradient.shape else float((got.double() - gradient).norm())
        found[name] = off / max(norms[name], floor)
    # NaN compares with nothing: it has to come first by name.
    worst = max(found, key=lambda name: math.inf if math.isnan(found[name]) else found[name])
    return Errors(abs(loss - wanted.loss) / abs(wanted.loss), found[worst], worst)


def bound(precision: Precision, published: Errors) -> float:
    """How large an error may be: twice what the published computation in that precision has.

    A fixed bound does not serve: one hidden unit that rounding moves across its ReLU's corner, of some 20 million,
    changes a gradient by up to a thousandth, in every implementation.

    Args:
        precision: of the implementation.
        published: the errors of the published computation in that precision.
    """
    return max(2 * published.largest, LEAST[precision]) if published.largest <= MOST[precision] else 0.0


def fault(found: Errors, limit: float) -> str | None:
    """What is wrong, or None. An error that is NaN is wrong."""
    if not limit:
        return "the published computation itself is too far from float64 in this precision to judge by"
    if not found.loss <= limit:
        return f"the loss differs from float64 by {found.loss:.1e}; at most {limit:.1e} is accepted"
    if not found.gradient <= limit:
        return (
            f"the gradient of {found.worst} differs from float64 by {found.gradient:.1e}; "
            f"at most {limit:.1e} is accepted"
        )
    return None
