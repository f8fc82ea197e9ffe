"""Expert pooling in float64, and how far rounding may move it and its gradients.

The error of a sum of products is some roundings of the sum of their absolute values. That sum is the same definition
with every number replaced by its absolute value; where a step rounds a number below the smallest normal one, it does
so as if that were the number. A hidden unit within rounding of 0 may pass or not, and takes its gradient or not.

B batch, S streams, R results of one clip, G windows of one result, T frames, D channels, H hidden, E experts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "gelu": F.gelu, "silu": F.silu}
CONFIDENCE = 6.0
"""Roundings that go either way add up like a random walk: so many standard deviations."""


class Problem(NamedTuple):
    """What is pooled, float64; all but indices take gradients."""

    frames: Tensor  # [B, S, T, D], padding 0
    gates: Tensor  # [B, R, G]
    indices: Tensor  # [B, R, G]
    weights: Tensor  # [B, R, G, T], padding 0
    weight1: Tensor  # [E, H, D]
    bias1: Tensor  # [E, H]
    weight2: Tensor  # [E, D, H]
    bias2: Tensor  # [E, D]


NAMES = ("frames", "gates", "weights", "weight1", "bias1", "weight2", "bias2")


def pooled(given: Problem, hidden: Callable[[Tensor, Tensor], Tensor], tiny: float = 0.0) -> Tensor:  # [B, R, S, D]
    """`sum_k p_k (W2 sum_t g_kt h(x_t) + (sum_t g_kt) b2)`, `tiny` added to what is rounded on the way.

    `hidden` makes the hidden layer [B, S, R, G, T, H] of W1 x and of b1.
    """
    x, gates, indices, g, weight1, bias1, weight2, bias2 = given
    product = torch.einsum("bstd,brghd->bsrgth", x, weight1[indices])
    h = hidden(product, bias1[indices][:, None, :, :, None, :]) + tiny
    state = torch.einsum("brgt,bsrgth->bsrgh", g, h) + tiny
    mixed = torch.einsum("brg,bsrgh,brgdh->brsd", gates, state, weight2[indices])
    mass = torch.einsum("brg,brgd->brd", gates * g.sum(-1), bias2[indices])
    return mixed + mass.unsqueeze(2) + tiny


class Outcome(NamedTuple):
    """A result, its gradients by name, and the error that each may have."""

    value: Tensor
    value_error: Tensor
    gradients: dict[str, Tensor]
    errors: dict[str, Tensor]
    largest: float
    """Of all numbers on the way: where the dtype does not hold it, its overflow is right."""


def outcome(
    given: Problem,
    spread: Tensor,  # [B, R, G, T], by how much the weights may be off
    upstream: Tensor,  # [B, R, S, D]
    activation: str,
    dtype: torch.dtype,
) -> Outcome:
    """Value and bound by two passes through the definition: as it is, and of absolute values."""
    leaves = given._replace(**{name: getattr(given, name).detach().requires_grad_() for name in NAMES})
    act, kept = ACTIVATIONS[activation], list[Tensor]()

    def hidden(product: Tensor, bias: Tensor) -> Tensor:
        kept.append((product + bias).detach())
        return act(product + bias)

    value = pooled(leaves, hidden)
    found = torch.autograd.grad((value * upstream).sum(), [getattr(leaves, name) for name in NAMES], allow_unused=True)
    unit, tiny = torch.finfo(dtype).eps / 2, torch.finfo(dtype).tiny
    wide_unit = torch.finfo(torch.promote_types(dtype, torch.float32)).eps / 2
    B, S, T, D = given.frames.shape
    _, R, G = given.indices.shape
    H = given.weight1.shape[1]
    terms = T * B * S * R * G + D + H + G
    # What is stored is rounded to the dtype, a sum is added up in float32 or wider. Gradients of one expert add up
    # over clips in the dtype itself.
    share = (16 + B * R * G * S) * unit + CONFIDENCE * math.sqrt(terms) * wide_unit + 4 * wide_unit
    size = given._replace(**{name: getattr(given, name).abs() for name in NAMES})
    # The weights of the bound: what rounding does to any term of the sum over time.
    bound = size._replace(weights=share * (size.weights + tiny * (size.weights > 0).double()) + spread)
    steep = 1.0 if activation == "relu" else 1.13  # of GELU at most; of SiLU 1.1
    value_error, errors = _sensitivity(bound, upstream.abs() + tiny, steep, tiny)
    # A product below the smallest normal number, such as a gate times a weight, is off by a part of that number.
    floor = 8 * unit * tiny
    if dtype == torch.float16:
        whole = size._replace(gates=torch.ones_like(size.gates), weights=floor * (size.weights > 0).double())
        more = _sensitivity(whole, upstream.abs() + tiny, steep, tiny)
        value_error = value_error + more[0]
        errors = {name: x + more[1][name] for name, x in errors.items() if name != "weights"} | {
            "weights": errors["weights"]
        }
    first, bias = size.weight1[given.indices], size.bias1[given.indices][:, None, :, :, None, :]
    sizes = torch.einsum("bstd,brghd->bsrgth", size.frames, first) + bias
    back = torch.einsum("brg,brsd,brgdh->bsrgh", size.gates, upstream.abs(), size.weight2[given.indices])
    # Linear in the weights, which have no part in the bound of their own gradient.
    errors["weights"] = errors["weights"] * share + floor * sizes.sum((1, 5))
    # By how much the activation's slope is off: a ReLU's wholly where rounding decides on which side a unit is.
    slope = (kept[0].abs() <= share * (sizes + tiny)).double() if activation == "relu" else 1.2 * share * sizes
    through = torch.einsum("brgt,bsrgh->bsrgth", size.weights, back) * slope + floor
    per_pair = torch.einsum("bsrgth,bstd->brghd", through, size.frames)
    errors["frames"] = errors["frames"] + torch.einsum("bsrgth,brghd->bstd", through, first)
    flat = given.indices.flatten()
    errors["weight1"] = errors["weight1"].index_add(0, flat, per_pair.flatten(0, 2))
    errors["bias1"] = errors["bias1"].index_add(0, flat, through.sum((1, 4)).flatten(0, 2))
    if activation != "relu":
        errors["weights"] = errors["weights"] + torch.einsum("bsrgh,bsrgth->brgt", back, share * sizes)
    gradients = {
        name: torch.zeros_like(getattr(given, name)) if x is None else x for name, x in zip(NAMES, found, strict=True)
    }
    sums = torch.einsum("brgt,bsrgth->bsrgh", size.weights, sizes)
    across = torch.einsum("bsrgh,brghd->bsrgd", back, first)
    largest = max(_most(x) for x in (sizes, sums, back, across, value, *gradients.values()))
    most = {name: x + share * gradients[name].abs() + tiny for name, x in errors.items()}
    return Outcome(value.detach(), value_error + share * value.detach().abs() + tiny, gradients, most, largest)


def _sensitivity(size: Problem, upstream: Tensor, steep: float, tiny: float) -> tuple[Tensor, dict[str, Tensor]]:
    """A problem of absolute values without a kink: its result and its gradients."""
    leaves = size._replace(**{name: getattr(size, name).detach().requires_grad_() for name in NAMES})
    above = pooled(leaves, lambda product, bias: steep * (product + bias), tiny)
    found = torch.autograd.grad((above * upstream).sum(), [getattr(leaves, name) for name in NAMES], allow_unused=True)
    errors = {
        name: torch.zeros_like(getattr(size, name)) if x is None else x for name, x in zip(NAMES, found, strict=True)
    }
    return above.detach(), errors


def _most(x: Tensor) -> float:
    return float(x.detach().abs().max()) if x.numel() else 0.0
