"""The definition of the Gaussian temporal weights (QA-TIGER, arXiv 2503.04459, section 3.3), in plain torch.

B batch, K Gaussians of one clip, T frames.
"""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian_weights_reference(
    centers: Tensor,  # [B, K], fraction of the clip
    stds: Tensor,  # [B, K], fraction of the clip
    times: Tensor,  # [B, T] or [T], fraction of the clip
    padding: Tensor | None = None,  # [B, T] bool, True = ignore
) -> Tensor:  # [B, K, T]
    """`g_t = exp(l_t - max_j l_j)` with `l_t = -(t - center)^2 / (2 std^2)` over the frames that are not padding.

    The exponent is shifted before it is taken, so no frame grid can make it 0/0. Of equal maxima the first takes
    the gradient. A clip with no valid frame has weights 0 and gradient 0.
    """
    if times.shape[-1] == 0:
        return centers.unsqueeze(-1) * times.unsqueeze(-2)
    offset = (times.unsqueeze(-2) - centers.unsqueeze(-1)) / stds.unsqueeze(-1)
    log_density = -0.5 * offset.square()
    if padding is not None:
        log_density = log_density.masked_fill(padding.unsqueeze(-2), -torch.inf)
    nearest = log_density.detach().argmax(dim=-1, keepdim=True)
    peak = log_density.gather(-1, nearest)
    if padding is not None:
        # Where every frame is padding the peak is -inf too, and -inf - -inf would be NaN.
        peak = peak.masked_fill(padding.all(dim=-1)[..., None, None], 0.0)
    return (log_density - peak).exp()
