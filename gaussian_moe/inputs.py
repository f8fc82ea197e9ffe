"""Checks that must read values, and so wait for the device: called by the user, never by a layer.

B batch, T frames, D channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import _checks
from .timeline import padding_from_lengths


def check_inputs(
    frames: Tensor,  # [B, T, D]
    *,
    key_padding_mask: Tensor | None = None,  # [B, T] bool
    lengths: Tensor | None = None,  # [B] int
    times: Tensor | None = None,  # [B, T] or [T]
    duration: Tensor | float | None = None,  # [B] or one number
) -> None:
    """Finds wrong values in one batch before a run: call it once on your loader's first batch.

    Args:
        frames: [B, T, D].
        key_padding_mask: [B, T] bool, True = ignore.
        lengths: [B] integers.
        times: [B, T] or [T], when each frame was taken.
        duration: [B] or a number, each clip's length in the unit of `times`.

    Raises:
        ValueError: frames that hold NaN or infinity outside the padding, lengths outside 0 ... T, padding that
            looks inverted (every clip that has any starts with it), times that are not sorted or not finite, a
            duration that is not positive or that the times exceed (two different units).

    Example:
        >>> import torch
        >>> from gaussian_moe import check_inputs
        >>> check_inputs(torch.randn(2, 60, 16), lengths=torch.tensor([60, 31]))
    """
    _checks.shape("frames", frames, ["B", "T", "D"])
    padding = padding_from_lengths(frames, key_padding_mask, lengths)
    num_clips, num_frames = frames.shape[:2]
    if lengths is not None and bool(((lengths < 0) | (lengths > num_frames)).any()):
        raise ValueError(f"lengths must be in 0 ... {num_frames}, got {lengths.tolist()}")
    if key_padding_mask is not None and num_frames:
        _check_polarity(key_padding_mask)
    valid = torch.ones(num_clips, num_frames, dtype=torch.bool, device=frames.device)
    if padding is not None:
        valid = ~padding
    broken = ~frames.isfinite().all(-1) & valid
    if bool(broken.any()):
        clip, frame = broken.nonzero()[0].tolist()
        raise ValueError(f"frames hold NaN or infinity, first in clip {clip}, frame {frame}")
    if times is None:
        return
    times = times.expand(num_clips, -1) if times.dim() == 1 else times
    _checks.shape("times", times, [num_clips, num_frames])
    for clip in range(num_clips):
        _check_times(clip, times[clip][valid[clip]], duration)


def _check_polarity(mask: Tensor) -> None:
    """Padding stands at the end: where it only ever stands at the start, 1 probably meant keep."""
    padded = mask[mask.any(-1) & ~mask.all(-1)]
    if len(padded) and bool((padded[:, 0] & ~padded[:, -1]).all()):
        raise ValueError(
            "key_padding_mask ignores the first frames of every clip and keeps the last: True means ignore; "
            "if 1 means keep in yours, pass ~mask"
        )


def _check_times(clip: int, times: Tensor, duration: Tensor | float | None) -> None:
    if not bool(times.isfinite().all()):
        raise ValueError(f"times hold NaN or infinity in clip {clip}")
    if bool((times.diff() < 0).any()):
        raise ValueError(f"times must be sorted within a clip; those of clip {clip} are not")
    if duration is None or not len(times):
        return
    length = float(torch.as_tensor(duration).reshape(-1).expand(clip + 1)[clip]) if not _per_clip(duration) else 0.0
    if isinstance(duration, Tensor) and _per_clip(duration):
        length = float(duration[clip])
    span = float(times[-1] - times[0])
    if length <= 0:
        raise ValueError(f"duration must be positive, got {length} for clip {clip}")
    if span > length * (1 + 1e-6):
        raise ValueError(f"times of clip {clip} span {span:g} but duration is {length:g}; give both in the same unit")


def _per_clip(duration: Tensor | float) -> bool:
    return isinstance(duration, Tensor) and duration.dim() == 1
