"""Where the frames of a clip stand on its own time axis [0, 1], and which of them are padding.

B batch, T frames.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import _checks


class Timing(NamedTuple):
    """Which frames are valid and when they were taken, as the layers take them."""

    key_padding_mask: Tensor | None = None
    """[B, T] bool, True = ignore"""
    lengths: Tensor | None = None
    """[B] int"""
    times: Tensor | None = None
    """[B, T] or [T]"""
    duration: Tensor | float | None = None
    """[B] or one number"""


def timing_arguments(timing: Timing) -> dict[str, Any]:
    """A timing as keyword arguments: PyTorch 2.7's compiler cannot trace `_asdict`, nor `_replace`."""
    return {
        "key_padding_mask": timing.key_padding_mask,
        "lengths": timing.lengths,
        "times": timing.times,
        "duration": timing.duration,
    }


def padding_from_lengths(
    frames: Tensor,  # [B, T, ...]
    key_padding_mask: Tensor | None,  # [B, T] bool, True = ignore
    lengths: Tensor | None,  # [B] int
) -> Tensor | None:
    """The one padding mask that mask or lengths describe, [B, T] bool, or None where every frame is valid.

    Raises:
        ValueError: both are given, or either has the wrong dtype or shape.
    """
    num_clips, num_frames = frames.shape[:2]
    if lengths is None:
        _checks.padding_mask("key_padding_mask", key_padding_mask, [num_clips, num_frames])
        return key_padding_mask
    if key_padding_mask is not None:
        raise ValueError("key_padding_mask and lengths describe the same thing; give one of them")
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        hint = "give a mask as key_padding_mask" if lengths.dtype == torch.bool else "call lengths.long()"
        raise ValueError(f"lengths must be an integer tensor, got {lengths.dtype}; {hint}")
    _checks.shape("lengths", lengths, [num_clips])
    return torch.arange(num_frames, device=frames.device) >= lengths.unsqueeze(-1)


def emptied(sequence: Tensor, padding: Tensor | None) -> Tensor:
    """Padding [..., T] of a sequence [..., T, D] set to 0: a weight of 0 does not silence a NaN or an infinity."""
    return sequence if padding is None else sequence.masked_fill(padding.unsqueeze(-1), 0.0)


def frame_times(
    frames: Tensor,  # [B, T, ...]
    padding: Tensor | None,  # [B, T] bool
    times: Tensor | None = None,  # [B, T] or [T], any unit
    duration: Tensor | float | None = None,  # [B] or one number, the unit of times
) -> Tensor:  # [B, T] or [T], float32 or wider, fraction of the clip
    """Valid frame i of L stands at `i / (L - 1)`, or 0 where L = 1; with `times`, at `(time - start) / duration`.

    The start is the first valid time; the duration is by default the last valid time minus the first. Padded
    frames get some finite place. What `times` hold for padded frames does not matter.

    Raises:
        ValueError: `duration` without `times`, or a wrong shape or dtype.
    """
    num_clips, num_frames = frames.shape[:2]
    dtype = torch.promote_types(frames.dtype, torch.float32)
    if times is None:
        if duration is not None:
            raise ValueError("duration is the clip's length in the unit of times; give times too")
        return _even_times(num_frames, padding, dtype, frames.device)
    if times.dim() == 1:
        times = times.expand(num_clips, -1)
    _checks.shape("times", times, [num_clips, num_frames])
    if times.dtype == torch.bool or times.is_complex():
        raise ValueError(f"times must be real numbers, got {times.dtype}")
    if num_frames == 0:
        return times.to(dtype)
    # Differences are taken before narrowing: timestamps of a long recording keep their resolution, whole numbers on
    # devices without float64 too.
    if not times.is_floating_point():
        times = times.to(torch.int64)
        counted = times if padding is None else times.masked_fill(padding, torch.iinfo(torch.int64).max)
        times = times - counted.amin(-1, keepdim=True)
    times = times.to(torch.promote_types(times.dtype, dtype))
    start, length = extent(times, padding, duration)
    if padding is not None:
        times = torch.where(padding, start, times)
    instant = length <= 0
    return ((times - start) / length.masked_fill(instant, 1.0)).masked_fill(instant, 0.0).to(dtype)


def extent(
    times: Tensor,  # [B, T], T at least 1
    padding: Tensor | None,  # [B, T] bool
    duration: Tensor | float | None,  # [B] or one number
) -> tuple[Tensor, Tensor]:  # [B, 1], [B, 1]
    """The first valid time of each clip, and its duration or else the time from there to the last valid one.

    Raises:
        ValueError: `duration` of a wrong shape.
    """
    if padding is None:
        start, end = times.amin(-1, keepdim=True), times.amax(-1, keepdim=True)
    else:
        start = times.masked_fill(padding, torch.inf).amin(-1, keepdim=True)
        end = times.masked_fill(padding, -torch.inf).amax(-1, keepdim=True)
        nothing = padding.all(-1, keepdim=True)
        start, end = start.masked_fill(nothing, 0.0), end.masked_fill(nothing, 0.0)
    if duration is None:
        return start, end - start
    length = torch.as_tensor(duration, dtype=times.dtype, device=times.device)
    if length.dim():
        _checks.shape("duration", length, [times.shape[0]])
        length = length.unsqueeze(-1)
    return start, length.expand_as(start)


def _even_times(num_frames: int, padding: Tensor | None, dtype: torch.dtype, device: torch.device) -> Tensor:
    if padding is None:
        # i / (L - 1), not linspace: the float64 values are the definition's to the last bit.
        return torch.arange(num_frames, dtype=dtype, device=device) / max(num_frames - 1, 1)
    # Whole numbers: a running sum of others has no deterministic algorithm on a GPU.
    number = (~padding).cumsum(-1)
    return (number - 1).clamp(min=0).to(dtype) / (number[..., -1:] - 1).clamp(min=1).to(dtype)


class Clock(NamedTuple):
    """When the frames of each clip were taken, as the operators read it: never both lengths and padding."""

    times: Tensor | None
    """[B, T] wide, fraction of the clip; None = evenly spaced over the valid frames."""
    lengths: Tensor | None
    """[B] integers, valid frames at the start of each clip."""
    padding: Tensor | None
    """[B, T] bool, True = ignore; only together with times."""


def frame_clock(
    frames: Tensor,  # [B, T, ...]
    key_padding_mask: Tensor | None,  # [B, T] bool
    lengths: Tensor | None,  # [B] int
    times: Tensor | None,  # [B, T] or [T], any unit
    duration: Tensor | float | None,  # [B] or one number
    wide: torch.dtype,
) -> Clock:
    """Lengths stay lengths, which need no mask in memory; everything else becomes times and a mask.

    Raises:
        ValueError: as `padding_from_lengths` and `frame_times`.
    """
    padding = padding_from_lengths(frames, key_padding_mask, lengths)
    if times is None and duration is None and key_padding_mask is None:
        return Clock(None, lengths, None)
    place = frame_times(frames, padding, times, duration)
    return Clock(place.to(wide).expand(frames.shape[:2]), None, padding)
