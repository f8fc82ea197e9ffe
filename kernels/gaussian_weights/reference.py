"""The definition of the temporal weights (QA-TIGER, arXiv 2503.04459, section 3.3), in plain torch.

B batch, K windows of one clip, T frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .windows import WINDOWS


def gaussian_weights_reference(
    centers: Tensor,  # [B, K], fraction of the clip
    stds: Tensor,  # [B, K], fraction of the clip
    times: Tensor,  # [B, T] or [T], fraction of the clip
    padding: Tensor | None = None,  # [B, T] bool, True = ignore
    window: str = "gaussian",
    normalization: str = "peak",
) -> Tensor:  # [B, K, T]
    """`g_t = exp(l_t - max_j l_j)` with `l_t = -(t - center)^2 / (2 std^2)` over the frames that are not padding.

    The exponent is shifted before it is taken, so no frame grid can make it 0/0. Of equal maxima the first takes
    the gradient. A clip with no valid frame has weights 0 and gradient 0. Other windows have another l_t;
    normalized to "sum" a window's weights sum to 1, with "none" they are `exp(l_t)`.
    """
    if times.shape[-1] == 0:
        return centers.unsqueeze(-1) * times.unsqueeze(-2)
    offset = (times.unsqueeze(-2) - centers.unsqueeze(-1)) / stds.unsqueeze(-1)
    height = WINDOWS[window](offset)
    if padding is not None:
        height = height.masked_fill(padding.unsqueeze(-2), -torch.inf)
    if normalization == "none":
        return height.exp()
    nearest = height.detach().argmax(dim=-1, keepdim=True)
    peak = height.gather(-1, nearest)
    if padding is not None:
        # Where every frame is padding the peak is -inf too, and -inf - -inf would be NaN.
        peak = peak.masked_fill(padding.all(dim=-1)[..., None, None], 0.0)
    weights = (height - peak).exp()
    return weights * reciprocal(weights.sum(-1, keepdim=True)) if normalization == "sum" else weights


def reciprocal(mass: Tensor) -> Tensor:
    """1/mass, and 0 where the mass is 0: a clip with no valid frame."""
    nothing = mass == 0
    return mass.masked_fill(nothing, 1.0).reciprocal().masked_fill(nothing, 0.0)
