"""The definition of the temporal weights (QA-TIGER, arXiv 2503.04459, section 3.3), in plain torch.

B batch, K windows of one clip, T frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .windows import fall, height, narrowest


def gaussian_weights_reference(
    centers: Tensor,  # [B, K], fraction of the clip
    stds: Tensor,  # [B, K], fraction of the clip
    times: Tensor,  # [B, T] or [T], fraction of the clip
    padding: Tensor | None = None,  # [B, T] bool, True = ignore
    window: str = "gaussian",
    normalization: str = "peak",
) -> Tensor:  # [B, K, T]
    """`g_t = exp(l_t - max_j l_j)` with `l_t = -(t - center)^2 / (2 std^2)` over the frames that are not padding.

    The exponent is shifted before it is taken, so no frame grid can make it 0/0, and no std an overflow. Of equal
    maxima the first takes the gradient. A clip with no valid frame has weights 0 and gradient 0. Other windows have
    another l_t; normalized to "sum" a window's weights sum to 1, with "none" they are `exp(l_t)`.
    """
    if times.shape[-1] == 0:
        return centers.unsqueeze(-1) * times.unsqueeze(-2)
    places, centers, stds = times.unsqueeze(-2), centers.unsqueeze(-1), narrowest(stds).abs().unsqueeze(-1)
    hidden = None if padding is None else padding.unsqueeze(-2)
    if normalization == "none":
        weights = height(window, places, centers, stds).exp()
        return weights if hidden is None else weights.masked_fill(hidden, 0.0)
    distance = (places - centers).detach().abs()
    if hidden is not None:
        distance = distance.masked_fill(hidden, torch.inf)
    nearest = places.expand_as(distance).gather(-1, distance.argmin(dim=-1, keepdim=True))
    weights = fall(window, places, nearest, centers, stds).exp()
    if hidden is not None:
        weights = weights.masked_fill(hidden, 0.0)
    return weights * reciprocal(weights.sum(-1, keepdim=True)) if normalization == "sum" else weights


def reciprocal(mass: Tensor) -> Tensor:
    """1/mass, and 0 where the mass is 0: a clip with no valid frame."""
    nothing = mass == 0
    return mass.masked_fill(nothing, 1.0).reciprocal().masked_fill(nothing, 0.0)
