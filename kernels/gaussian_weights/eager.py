"""Gaussian temporal weights, their gradients and their windows in plain torch: what the op runs on a CPU.

B batch, G Gaussians of one clip, T frames. Wide is float32, or float64 where the centers are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .windows import narrowest


def frame_padding(
    lengths: Tensor | None,  # [B] int
    padding: Tensor | None,  # [B, T] bool
    num_frames: int,
) -> Tensor | None:
    """The mask that lengths or padding say, [B, T] bool, or None where every frame is valid."""
    if lengths is None:
        return padding
    return torch.arange(num_frames, device=lengths.device) >= lengths.unsqueeze(-1)


def frame_places(
    centers: Tensor,  # [B, G], read for dtype and device
    times: Tensor | None,  # [B, T] wide
    lengths: Tensor | None,  # [B] int
    num_frames: int,
) -> Tensor:
    """The times given, or evenly spaced ones, [B, T] or [1, T] wide."""
    if times is not None:
        return times
    number = torch.arange(num_frames, device=centers.device, dtype=centers.dtype).unsqueeze(0)
    if lengths is None:
        return number / max(num_frames - 1, 1)
    return number / (lengths.unsqueeze(-1) - 1).clamp(1, max(num_frames - 1, 1)).to(centers.dtype)


def nearest_times(
    centers: Tensor,  # [B, G]
    places: Tensor,  # [B, T] or [1, T]
    padding: Tensor | None,  # [B, T] bool
) -> Tensor:
    """The time of each center's nearest valid frame, of equals the first; NaN where a clip has none. [B, G]"""
    distance = (places.unsqueeze(1) - centers.unsqueeze(-1)).abs_()
    if padding is not None:
        distance.masked_fill_(padding.unsqueeze(1), torch.inf)
    index = distance.argmin(-1)
    nearest = places.expand(centers.shape[0], -1).gather(1, index)
    return nearest if padding is None else nearest.masked_fill_(padding.all(-1, keepdim=True), torch.nan)


def weights_forward(
    centers: Tensor,  # [B, G]
    stds: Tensor,  # [B, G]
    times: Tensor | None,
    lengths: Tensor | None,
    padding: Tensor | None,
    num_frames: int,
) -> Tensor:  # [B, G, T]
    """`exp(l_t - l_n)` with n the nearest valid frame; 0 for padding."""
    if num_frames == 0 or centers.numel() == 0:
        return centers.new_zeros(*centers.shape, num_frames)
    places, padding = frame_places(centers, times, lengths, num_frames), frame_padding(lengths, padding, num_frames)
    stds = narrowest(stds)
    return _weights(centers, stds, nearest_times(centers, places, padding), places, padding)


def weights_backward(
    grad: Tensor,  # [B, G, T]
    centers: Tensor,  # [B, G]
    stds: Tensor,  # [B, G]
    times: Tensor | None,
    lengths: Tensor | None,
    padding: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Gradients of centers and stds, the nearest frame's part included; [B, G] each."""
    num_frames = grad.shape[-1]
    if num_frames == 0 or centers.numel() == 0:
        return torch.zeros_like(centers), torch.zeros_like(stds)
    places, padding = frame_places(centers, times, lengths, num_frames), frame_padding(lengths, padding, num_frames)
    nearest, stds = nearest_times(centers, places, padding), narrowest(stds)
    # Where a weight is 0 (padding, clips without a frame) what it is multiplied with may be anything.
    weighted = grad * _weights(centers, stds, nearest, places, padding)
    first, second = _offsets(centers, stds, nearest, places)
    silent = weighted == 0
    by_center = (weighted * first).masked_fill_(silent, 0.0)
    by_std = (by_center * second).masked_fill_(silent, 0.0)
    return by_center.sum(-1) / stds, by_std.sum(-1) / stds


def windows(
    weights: Tensor,  # [B, G, T]
    epsilon: float,
) -> tuple[Tensor, Tensor]:
    """Frames `first <= t < last` hold every weight of epsilon or more; [B, G] int64 each."""
    number = torch.arange(weights.shape[-1], device=weights.device)
    inside = weights >= epsilon
    last = torch.where(inside, number + 1, 0).amax(-1)
    first = torch.where(inside, number, weights.shape[-1]).amin(-1)
    return torch.minimum(first, last), last


def _offsets(centers: Tensor, stds: Tensor, nearest: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """`(t - t_n)/s` and `((t - c) + (t_n - c))/s`, [B, G, T]: times each other `2 (l_n - l_t)`."""
    places, stds, centers = places.unsqueeze(1), stds.unsqueeze(-1), centers.unsqueeze(-1)
    nearest = nearest.unsqueeze(-1)
    return (places - nearest) / stds, ((places - centers) + (nearest - centers)) / stds


def _weights(centers: Tensor, stds: Tensor, nearest: Tensor, places: Tensor, padding: Tensor | None) -> Tensor:
    first, second = _offsets(centers, stds, nearest, places)
    # 0 times an overflow at the nearest frame would be NaN.
    weights = (first * second).masked_fill_(first == 0, 0.0).clamp_(min=0).mul_(-0.5).exp_()
    if padding is not None:
        weights.masked_fill_(padding.unsqueeze(1) | nearest.isnan().unsqueeze(-1), 0.0)
    return weights
