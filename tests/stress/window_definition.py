"""Windows over time in float64, and how far rounding may move them: the definition that every path is held to.

Written apart from the library, with gradients by formula. A result is allowed to differ as much as if times, center
and std had each been moved by a few roundings of its dtype: a window much narrower than the distance to its frames
magnifies those, whoever computes it.

B batch, G windows of one clip, T frames. All tensors float64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

ROUNDINGS = 8
"""Of a time, of differences, quotients and products on the way to the logarithm of a weight, and of its exponential."""


class Interval(NamedTuple):
    """What a weight is, and between what it may lie; [B, G, T] each."""

    exact: Tensor
    low: Tensor
    high: Tensor


class Slopes(NamedTuple):
    """Derivatives of the logarithm of a weight by center and std, and how far rounding may move them; [B, G, T]."""

    by_center: Tensor
    by_std: Tensor
    center_error: Tensor
    std_error: Tensor


class Windows(NamedTuple):
    """Weights and slopes of some windows, and which have two nearest frames within rounding; that is [B, G] bool."""

    weights: Interval
    slopes: Slopes
    tied: Tensor


def places(
    num_frames: int,
    padding: Tensor,  # [B, T] bool
    times: Tensor | None,  # [B, T], any unit
    duration: float | None,
) -> Tensor:  # [B, T]
    """Valid frame i of L at i/(L-1), or (time - first)/duration; 0 for padding."""
    valid = ~padding
    if times is None:
        number = valid.double().cumsum(-1) - 1
        return (number / (valid.sum(-1, keepdim=True) - 1).clamp(min=1)).masked_fill(padding, 0.0)
    times = times.double()
    first = times.masked_fill(padding, math.inf).amin(-1, keepdim=True)
    length = times.masked_fill(padding, -math.inf).amax(-1, keepdim=True) - first
    if duration is not None:
        length = torch.full_like(length, duration)
    placed = (times - first) / torch.where(length > 0, length, 1.0)
    return placed.masked_fill(padding | ~(length > 0), 0.0)


def windows(
    centers: Tensor,  # [B, G]
    stds: Tensor,  # [B, G]
    place: Tensor,  # [B, T]
    padding: Tensor,  # [B, T] bool
    window: str,
    normalization: str,
    unit: float,
) -> Windows:
    """The definition, for T of at least 1; `unit` is half the distance from 1 to the dtype's next number."""
    c, s, t, hidden = centers.unsqueeze(-1), stds.unsqueeze(-1), place.unsqueeze(1), padding.unsqueeze(1)
    offset = (t - c).expand(*centers.shape, t.shape[-1])
    frame = offset.abs().masked_fill(hidden, math.inf).argmin(-1, keepdim=True)
    tn = t.expand_as(offset).gather(-1, frame)
    z, zn = offset / s, (tn - c) / s
    if normalization == "none":
        tn, zn = torch.zeros_like(tn), torch.zeros_like(zn)
        fall = _height(window, z)
    elif window == "gaussian":
        fall = -0.5 * ((t - tn) / s) * ((offset + (tn - c)) / s)
    elif window == "laplace":
        fall = -math.sqrt(2) * ((offset.abs() - (tn - c).abs()) / s)
    else:
        fall = _height(window, z) - _height(window, zn)
    moved = unit * (t.abs() + tn.abs() + c.abs()) / s  # of z, by one rounding
    steep = z.abs() + zn.abs()
    if window != "gaussian":
        steep = torch.full_like(steep, 10.0 if window == "box" else math.sqrt(2))
    # A box's logarithm is made of numbers of up to sqrt(3)/0.1.
    size = 20.0 if window == "box" else 1.0
    error = (ROUNDINGS * (steep * moved + size * unit)).nan_to_num(math.inf)
    most = torch.full_like(fall, math.inf) if normalization == "none" else torch.zeros_like(fall)
    weights = Interval(
        *(x.exp().nan_to_num(0.0).masked_fill(hidden, 0.0) for x in (fall, fall - error, (fall + error).minimum(most)))
    )
    tied = ((fall + error > 0) & (t != tn) & ~hidden).any(-1)
    slopes = _slopes(window, z, s, moved, unit)
    if normalization != "none":
        at = [x.gather(-1, frame) for x in slopes]
        # The Gaussian's differences as products: of a narrow one the slopes themselves are far larger.
        by_center, by_std = slopes.by_center - at[0], slopes.by_std - at[1]
        if window == "gaussian":
            by_center, by_std = (t - tn) / s / s, (t - tn) / s * ((offset + (tn - c)) / s) / s
        slopes = Slopes(by_center, by_std, slopes.center_error + at[2], slopes.std_error + at[3])
    if normalization == "sum":
        # However a narrow window is rounded, its nearest frame has 1.
        total = [max_of.sum(-1, keepdim=True).clamp(min=1.0) for max_of in (weights.exact, weights.high, weights.low)]
        weights = Interval(*(x / y for x, y in zip(weights, total, strict=True)))
        slack = 1 + (place.shape[-1] + ROUNDINGS) * unit
        weights = weights._replace(low=weights.low / slack, high=(weights.high * slack).clamp(max=1.0 + 8 * unit))
    return Windows(weights, slopes, tied)


def gradients(
    found: Windows,
    upstream: Tensor,  # [B, G, T]
    normalization: str,
    unit: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of centers and stds, and the error that each may have; [B, G]."""
    exact, low, high = found.weights
    weight = upstream
    if normalization == "sum":
        weight = upstream - (upstream * exact).sum(-1, keepdim=True)
    size = upstream.abs() if normalization != "sum" else 2 * upstream.abs().amax(-1, keepdim=True).expand_as(exact)
    rounding = (exact.shape[-1] + 2 * ROUNDINGS) * unit
    wide = (high - low) + rounding * high
    if normalization == "sum":
        wide = wide + high * wide.sum(-1, keepdim=True)
    values, errors = [], []
    for slope, error in (
        (found.slopes.by_center, found.slopes.center_error),
        (found.slopes.by_std, found.slopes.std_error),
    ):
        values.append(torch.where(exact == 0, 0.0, weight * exact * slope).sum(-1))
        errors.append(torch.where(high == 0, 0.0, size * (wide * (slope.abs() + error) + high * error)).sum(-1))
    return values[0], values[1], errors[0], errors[1]


def _height(window: str, z: Tensor) -> Tensor:
    if window == "gaussian":
        return -0.5 * z * z
    if window == "laplace":
        return -math.sqrt(2) * z.abs()
    return -torch.logaddexp(torch.zeros_like(z), (z.abs() - math.sqrt(3)) / 0.1)


def _slopes(window: str, z: Tensor, s: Tensor, moved: Tensor, unit: float) -> Slopes:
    """Of the height at z; `moved` is what one rounding makes of z."""
    size, sign, moved = z.abs(), z.sign(), ROUNDINGS * moved
    if window == "gaussian":
        return Slopes(
            z / s, z * size * sign / s, moved / s + ROUNDINGS * unit * size / s, (2 * size + moved) * moved / s
        )
    # The kink at the center: which side of it a frame is on, rounding decides.
    unsure = (size <= moved).double() * 2
    if window == "laplace":
        steep, bend = torch.full_like(z, math.sqrt(2)), 0.0
    else:
        steep, bend = torch.sigmoid(-(math.sqrt(3) - size) / 0.1) / 0.1, 25.0
    center_error = (bend * moved + ROUNDINGS * unit * steep + unsure * steep) / s
    return Slopes(sign * steep / s, steep * size / s, center_error, (bend * size + steep + 10) * moved / s)
