"""One try of expert pooling: `gaussian_expert_pool` in any dtype, by any path, with every gradient.

B batch, S streams, Q questions of one clip, T frames, D channels, H hidden, E experts, K experts in use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from gaussian_moe import backend as backends
from gaussian_moe.functional import gaussian_expert_pool
from gaussian_moe.kernels.expert_pool.op import reach_threshold

from .draw import DTYPES, Draw, clips, shown
from .pool_definition import NAMES, Problem, outcome
from .window_checks import outside, profile, unit
from .window_definition import Windows, gradients, places, windows

NOTHING_IS_SMALL: dict[str, Any] = {"SMALL": 0, "SMALL_COMPILED": 0, "SMALL_SHORT": 0}


def try_pool(draw: Draw, small: bool) -> str:
    """What is wrong with one drawn case, or ""."""
    dtype, B, T = draw.choice(DTYPES), draw.one(0, 1, 2, 3), draw.num_frames(small)
    long = T > 2000
    S, Q = draw.one(0, 0, 1, 2), draw.one(0, 0, 1, 2)
    E = draw.one(1, 2, 7) if long or small else draw.one(1, 2, 7, 7, 16, 256)
    K = draw.one(E, 1, min(3, E)) if E < 100 else draw.one(1, 3, 12)
    D, H = (3, 2) if long else (draw.one(1, 4, 17), draw.one(1, 4, 33))
    if E == 256 and not long and T < 64 and B < 3 and draw.random() < 0.3:
        K, D, H = E, 4, 3
    activation = draw.one("relu", "relu", "relu", "gelu", "silu")
    backend = draw.one("auto", "auto", "torch")
    given = draw.one(True, False, False)
    window, normalization = draw.one(("gaussian", "peak"), ("gaussian", "sum"), ("laplace", "peak"), ("box", "none"))
    if activation == "relu" and draw.random() < 0.7:
        window, normalization = "gaussian", "peak"
    timing = clips(draw, B, T, dtype)
    R, wide = max(Q, 1), torch.promote_types(dtype, torch.float32)
    limit = {torch.float16: 4.0}.get(dtype, 6.0)
    size = 10 ** draw.uniform(-6, limit)
    frames = size * draw.normal(B, max(S, 1), T, D)
    if draw.random() < 0.3:
        frames = frames * 10 ** (3 * draw.normal(B, 1, T, 1).clamp(-1, 1))
    frames = frames.clamp(-5e4, 5e4) if dtype == torch.float16 else frames
    scale = 1 / math.sqrt(D)
    bank = [scale * draw.normal(E, H, D), draw.one(0.0, size) * draw.normal(E, H)]
    bank += [draw.normal(E, D, H) / math.sqrt(H), draw.normal(E, D)]
    scores, indices = (draw.one(1.0, 1e4) * draw.normal(B, R, E)).softmax(-1).sort(-1, descending=True)
    gates, indices = scores[..., :K], indices[..., :K]
    frames, *bank = (x.to(dtype).double() for x in (frames, *bank))
    gates = gates.to(wide).double()
    centers, stds = (x.view(B, R, K) for x in profile(draw, B, R * K, T, wide))
    found = None
    hidden = timing.padding[:, None, None]
    weights = draw.normal(B, R, K, T) * draw.one(1.0, 1e-3)
    spread = torch.zeros(B, R, K, T, dtype=torch.float64)
    weights = weights.to(wide).double().masked_fill(hidden, 0.0)
    if not given and T:
        place = places(T, timing.padding, timing.times, timing.duration)
        steps = unit(wide) * (1 if timing.times is None else 3)
        found = windows(centers.flatten(1), stds.flatten(1), place, timing.padding, window, normalization, steps)
        weights, spread = _spread(found, reach_threshold(dtype) if backend == "auto" else 0.0, (B, R, K, T))
    squeezed = gates.shape if Q else (B, K)
    leaves = [frames if S else frames.squeeze(1), gates.view(squeezed), weights, *bank, centers, stds]
    kinds = [dtype, wide, wide, dtype, dtype, dtype, dtype, wide, wide]
    leaves = [x.to(kind).requires_grad_() for x, kind in zip(leaves, kinds, strict=True)]
    x, p, g, *layers, c, s = leaves
    described = (
        f"{shown(dtype)} B={B} S={S} Q={Q} T={T} D={D} H={H} E={E} K={K} size={size:.1e} {activation} {backend} "
        f"{'weights' if given else f'{window} {normalization}'} "
        f"{'mask' if timing.mask is not None else 'lengths' if timing.lengths is not None else 'whole'} "
        f"{'even' if timing.times is None else 'times'}"
    )
    padded = x.masked_fill(timing.padding[:, None, :, None] if S else timing.padding[..., None], torch.nan)
    # The library takes plain operations for small inputs, on which the operators would never be tried.
    with patch.multiple(backends, **NOTHING_IS_SMALL):
        got = gaussian_expert_pool(
            padded,
            p,
            indices.view(squeezed),
            g.view(*squeezed, T) if given else None,
            *layers,
            centers=None if given else c.view(squeezed),
            stds=None if given else s.view(squeezed),
            **timing.arguments,
            window=window,
            normalization=normalization,
            activation=activation,
            backend=backend,
        )
        upstream = draw.normal(*got.shape).to(dtype)
        results = dict(
            zip(
                (*NAMES[:3], *NAMES[3:], "centers", "stds"),
                torch.autograd.grad(got, leaves, upstream, allow_unused=True),
                strict=True,
            )
        )
    if got.dtype != dtype:
        return f"{described}: {got.dtype}"
    if not B:
        return ""
    emptied = frames.masked_fill(timing.padding[:, None, :, None], 0.0)
    given_problem = Problem(emptied, gates, indices, weights, *bank)
    above = upstream.double().view(B, R, max(S, 1), D)
    exact = outcome(given_problem, spread, above, activation, dtype)
    # What counts for nothing takes no gradient.
    exact.gradients["weights"].masked_fill_(hidden, 0.0)
    if exact.largest > torch.finfo(dtype).max / 4:
        return ""
    wrong = outside(got.detach().view_as(exact.value), exact.value, exact.value_error, dtype)
    for name in NAMES:
        result = results[name]
        if not wrong and result is not None:
            value = exact.gradients[name]
            wrong = outside(result.view_as(value), value, exact.errors[name], result.dtype)
            wrong = wrong and f"gradient of {name}: {wrong}"
    if not wrong and found is not None:
        wrong = _profile_gradients(
            found, results, exact.gradients["weights"], exact.errors["weights"], spread, wide, normalization
        )
    return f"{described}: {wrong}" if wrong else ""


def _spread(found: Windows, epsilon: float, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The weights, and by how much they may be off: by rounding, and wholly where they are out of reach."""
    value, low, high = found.weights
    reached = torch.where(high / value.amax(-1, keepdim=True).clamp(min=1e-300) < epsilon * 1.01, high, high - low)
    return value.view(shape), reached.view(shape)


def _profile_gradients(
    found: Windows,
    results: Mapping[str, Tensor | None],
    by_weight: Tensor,
    error: Tensor,
    spread: Tensor,
    wide: torch.dtype,
    normalization: str,
) -> str:
    flat = by_weight.flatten(1, 2)
    value = gradients(found, flat, normalization, unit(wide))
    high = found.weights.high
    off_by = error.flatten(1, 2)
    if normalization == "sum":
        # Every weight is divided by the sum of all, through which an error of one reaches the others.
        off_by = off_by + (off_by * high).sum(-1, keepdim=True)
    extra = (off_by * high, flat.abs() * spread.flatten(1, 2))
    slopes = found.slopes
    for name, wanted, bound, slope, off in (
        ("centers", value[0], value[2], slopes.by_center, slopes.center_error),
        ("stds", value[1], value[3], slopes.by_std, slopes.std_error),
    ):
        result = results[name]
        assert result is not None
        steep = slope.abs() + off
        more = sum(torch.where(high == 0, 0.0, x * steep).sum(-1) for x in extra)
        bound = torch.where(found.tied, math.inf, bound + more)
        if wrong := outside(result.flatten(1), wanted, bound, wide):
            return f"gradient of {name}: {wrong}"
    return ""
