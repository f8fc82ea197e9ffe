"""One try of the windows over time: `gaussian_weights` in any dtype, by any path, with its gradients.

B batch, G windows of one clip, T frames.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gaussian_moe.functional import gaussian_weights

from .draw import DTYPES, Clips, Draw, clips, shown
from .window_definition import Windows, gradients, places, windows

STDS = (1e-30, 1e-20, 1e-12, 1e-6, 1e-4, 3e-3, 0.01, 0.05, 1 / 9, 0.5, 1.0, 30.0, 1e3)
CENTERS = (0.0, 1.0, -0.5, 1.5, 0.5, 0.25)


def profile(draw: Draw, B: int, G: int, T: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Centers and stds [B, G], in float64 but as the dtype holds them: at the ends, on frames, between them."""
    centers, stds = draw.even(B, G), torch.empty(B, G, dtype=torch.float64)
    for b in range(B):
        for g in range(G):
            frame = draw.randrange(T) if T else 0
            on_frame = (frame + draw.one(0.0, 0.5)) / max(T - 1, 1)
            centers[b, g] = draw.one(float(centers[b, g]), on_frame, draw.choice(CENTERS))
            stds[b, g] = draw.choice(STDS) * draw.one(1.0, draw.uniform(0.5, 2.0))
    # The smallest number that the dtype has, where the std would be 0 in it.
    least = torch.finfo(dtype).smallest_normal
    return centers.to(dtype).double(), stds.clamp(min=least).to(dtype).double()


def unit(dtype: torch.dtype) -> float:
    """Half the distance from 1 to the next number."""
    return torch.finfo(dtype).eps / 2


def outside(got: Tensor, wanted: Tensor, error: Tensor, dtype: torch.dtype) -> str:
    """What of a result is not finite or further off than the error allows, or "". Where the result overflows the
    dtype it may be anything."""
    most, tiny = torch.finfo(dtype).max, torch.finfo(dtype).tiny
    got, error = got.double(), error.nan_to_num(math.inf)
    counts = wanted.isfinite() & (wanted.abs() + error.nan_to_num(posinf=0.0) < most / 2)
    broken = counts & ~got.isfinite()
    if bool(broken.any()):
        return f"{int(broken.sum())} of {got.numel()} are not finite, where {wanted[broken][0]:.3g} is right"
    off = ((got - wanted).abs() > error + 8 * tiny) & counts
    if bool(off.any()):
        worst = ((got - wanted).abs() / (error + 8 * tiny))[off].max()
        first = off.nonzero()[0].tolist()
        return f"{int(off.sum())} of {got.numel()} are off, up to {worst:.3g} times the bound, first {first}: got " + (
            f"{got[off][0]:.9g} for {wanted[off][0]:.9g} ± {error[off][0]:.3g}"
        )
    return ""


def try_windows(draw: Draw, small: bool) -> str:
    """What is wrong with one drawn case, or ""."""
    dtype, B, T = draw.choice(DTYPES), draw.one(0, 1, 2, 3), draw.num_frames(small)
    G = draw.one(1, 2, 7) if T > 2000 or small else draw.one(0, 1, 2, 7, 7, 64, 256)
    window = draw.one("gaussian", "gaussian", "gaussian", "laplace", "box")
    normalization = draw.one("peak", "peak", "sum", "none")
    backend = draw.one("auto", "torch")
    centers, stds = profile(draw, B, G, T, dtype)
    timing = clips(draw, B, T, dtype)
    wide = torch.promote_types(dtype, torch.float32)
    leaves = [x.to(dtype).requires_grad_() for x in (centers, stds)]
    one, other = leaves
    frames = torch.empty(B, T, 1, dtype=dtype)
    case = f"{shown(dtype)} B={B} G={G} T={T} {window} {normalization} {backend} {_described(timing)}"
    got = gaussian_weights(
        one,
        other,
        frames,
        **timing.arguments,
        window=window,
        normalization=normalization,
        backend=backend,
    )
    if got.shape != (B, G, T) or got.dtype != wide:
        return f"{case}: {got.dtype} {list(got.shape)}"
    upstream = draw.normal(B, G, T).to(wide)
    if not B * G * T:
        found = torch.autograd.grad(got, leaves, upstream, allow_unused=True)
        return f"{case}: a gradient of nothing" if any(x is not None and bool(x.any()) for x in found) else ""
    found = torch.autograd.grad(got, leaves, upstream)
    exact = windows(
        centers,
        stds,
        places(T, timing.padding, timing.times, timing.duration),
        timing.padding,
        window,
        normalization,
        # Times are placed in the wide dtype, by three more roundings than evenly spaced ones.
        unit(wide) * (1 if timing.times is None else 3),
    )
    if problem := _weights(got.detach(), exact, timing, normalization):
        return f"{case}: {problem}"
    value = gradients(exact, upstream.double().masked_fill(timing.padding.unsqueeze(1), 0.0), normalization, unit(wide))
    for name, result, wanted, error in zip(("centers", "stds"), found, value[:2], value[2:], strict=True):
        # Of two nearest frames either may take the gradient. It comes in the dtype that center and std were given in.
        error = torch.where(exact.tied, math.inf, error + unit(dtype) * wanted.abs())
        if problem := outside(result, wanted, error, dtype):
            return f"{case}: gradient of {name}: {problem}"
    return ""


def _weights(got: Tensor, exact: Windows, timing: Clips, normalization: str) -> str:
    wide = got.dtype
    if bool(got.masked_fill(~timing.padding.unsqueeze(1), 0.0).any()):
        return "padding has weight"
    value, low, high = exact.weights
    if problem := outside(got, value, torch.full_like(value, math.inf), wide):
        return problem
    slack = 8 * unit(wide) * value + 8 * torch.finfo(wide).tiny
    off = (got.double() < low - slack) | (got.double() > high + slack)
    if bool(off.any()):
        around = f"{low[off][0]:.9g} to {high[off][0]:.9g}"
        return f"{int(off.sum())} weights are off: {got[off][0]:.9g} for {value[off][0]:.9g} ({around})"
    if normalization == "peak":
        there = ~timing.padding.all(-1, keepdim=True)
        if not torch.equal(got.amax(-1), there.to(wide).expand(got.shape[:2])):
            return "the largest weight is not 1"
    return ""


def _described(timing: Clips) -> str:
    kind = "even" if timing.times is None else f"times {shown(timing.times.dtype)}"
    padded = "mask" if timing.mask is not None else "lengths" if timing.lengths is not None else "whole"
    return f"{kind}, {padded}"
