"""When each window over time looks: one weight a frame.

B batch, Q questions of one clip, T frames, K experts in use, M windows of one expert, G windows of one clip.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import _checks
from ..backend import fused
from ..kernels.gaussian_weights import NORMALIZATIONS, WINDOWS, gaussian_weights_reference, reciprocal
from ..kernels.gaussian_weights import op as weights_op
from ..timeline import Timing, frame_clock, frame_times, padding_from_lengths


def gaussian_weights(
    centers: Tensor,  # [B, K] or [B, Q, K]; with shares [B, K, M] or [B, Q, K, M]
    stds: Tensor,  # like centers
    frames: Tensor,  # [B, T, ...]
    *,
    shares: Tensor | None = None,  # [B, K, M] or [B, Q, K, M]
    key_padding_mask: Tensor | None = None,  # [B, T] bool
    lengths: Tensor | None = None,  # [B] int
    times: Tensor | None = None,  # [B, T] or [T]
    duration: Tensor | float | None = None,  # [B] or one number
    window: str = "gaussian",
    normalization: str = "peak",
    backend: str = "auto",
) -> Tensor:  # [B, K, T] or [B, Q, K, T]
    """One Gaussian over time for each center, scaled so that the frame nearest to the center has weight 1.

    `g_t = exp(l_t - max_j l_j)`, `l_t = -(t - center)^2 / (2 std^2)`; padded frames have weight 0. It is the
    published density over its largest sampled value wherever that is finite (QA-TIGER, arXiv 2503.04459,
    section 3.3), and never 0/0. With `shares`, `g_t = sum_m share_m g_mt`.

    Args:
        centers: [B, K] or [B, Q, K], fraction of the clip's duration.
        stds: same shape, fraction of the clip's duration, above 0.
        frames: [B, T, ...], read for its sizes, dtype and device only.
        shares: the sum of M windows for each expert: its weights, and centers and stds of the same shape,
            [B, K, M] or [B, Q, K, M].
        key_padding_mask: [B, T] bool, True = ignore.
        lengths: [B] integers, number of valid frames at the start of each clip; instead of the mask.
        times: [B, T] or [T], when each frame was taken, in any unit; evenly spaced where not given. (A gradient for
            them exists on the torch path, which is taken where they require one.)
        duration: [B] or a number, length of each clip in the unit of `times`.
        window: "gaussian"; "laplace", `l_t = -sqrt(2) |t - center| / std`; or "box", level within sqrt(3) stds of
            the center and falling fast behind. `std` is the window's standard deviation (of the box about).
        normalization: "peak", the nearest frame has weight 1; "sum", a window's weights sum to 1; "none", `exp(l_t)`.
            Of a sum of windows each is normalized.
        backend: "auto", "triton" or "torch"; Gaussians with normalization "peak" and "sum" have a kernel.

    Returns:
        [B, K, T] or [B, Q, K, T], float32 or wider. A clip with no valid frame has weights 0.

    Raises:
        ValueError: a wrong shape or dtype, an unknown window or normalization, or a backend that is not there.

    Examples:
        >>> import torch
        >>> from gaussian_moe.functional import gaussian_weights
        >>> g = gaussian_weights(torch.tensor([[0.5]]), torch.tensor([[0.1]]), torch.zeros(1, 5, 8))
        >>> [round(value, 3) for value in g[0, 0].tolist()]
        [0.0, 0.044, 1.0, 0.044, 0.0]
    """
    if frames.dim() < 2:
        raise ValueError(f"frames must have shape [B, T, ...], got {list(frames.shape)}")
    check_window(window, normalization)
    B, T = frames.shape[:2]
    last = ["K"] if shares is None else ["K", "M"]
    if centers.dim() - len(last) not in (1, 2) or centers.shape[0] != B:
        wanted = ", ".join(last)
        raise ValueError(f"centers must have shape [{B}, {wanted}] or [{B}, Q, {wanted}], got {list(centers.shape)}")
    _checks.shape("stds", stds, list(centers.shape))
    if shares is not None:
        _checks.shape("shares", shares, list(centers.shape))
    timing = Timing(key_padding_mask, lengths, times, duration)
    flat = centers.flatten(1), stds.flatten(1)
    weights = temporal_weights(*flat, frames, timing, window, normalization, backend).view(*centers.shape, T)
    return weights if shares is None else (weights * shares.to(weights.dtype).unsqueeze(-1)).sum(-2)


def check_window(window: str, normalization: str) -> None:
    """Raises ValueError for a name that is no window or no normalization."""
    _checks.one_of(tuple(WINDOWS), window=window)
    _checks.one_of(NORMALIZATIONS, normalization=normalization)


def unfused_window(window: str, normalization: str, times: Tensor | None = None) -> str | None:
    """Why these windows over these times have no fused path, if they have none."""
    if window != "gaussian":
        return f"window={window!r} has no fused kernel, only 'gaussian' has"
    if normalization == "none":
        return "normalization='none' has no fused kernel, only 'peak' and 'sum' have"
    if times is not None and times.requires_grad:
        return "the kernels give times no gradient, and these require one"
    return None


def temporal_weights(
    centers: Tensor,  # [B, G]
    stds: Tensor,  # [B, G]
    frames: Tensor,  # [B, T, ...]
    timing: Timing,
    window: str,
    normalization: str,
    backend: str,
) -> Tensor:  # [B, G, T]
    """The same for G windows of each clip, whoever's they are; arguments are taken as checked."""
    wide = torch.promote_types(torch.promote_types(centers.dtype, torch.float32), frames.dtype)
    if fused(backend, frames.device, wide, unfused_window(window, normalization, timing.times)):
        clock = frame_clock(frames, *timing, wide)
        weights: Tensor = weights_op.gaussian_weights(centers.to(wide), stds.to(wide), *clock, frames.shape[1])
        return weights * reciprocal(weights.sum(-1, keepdim=True)) if normalization == "sum" else weights
    padding = padding_from_lengths(frames, timing.key_padding_mask, timing.lengths)
    place = frame_times(frames, padding, timing.times, timing.duration)
    wide = torch.promote_types(wide, place.dtype)
    profile = centers.to(wide), stds.to(wide), place.to(wide)
    return gaussian_weights_reference(*profile, padding, window, normalization)
