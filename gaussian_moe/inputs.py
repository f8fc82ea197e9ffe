"""Checks that must read values, and so wait for the device: called by the user, never by a layer.

B batch, T frames, N frames of all clips, D channels; L any leading dimensions.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from . import _checks
from .clips import flat_timing, flattened, padded
from .timeline import Timing, frame_times, padding_from_lengths


def check_inputs(
    frames: Tensor,  # [L, T, D], [N, D] with cu_seqlens, or nested
    *,
    question: Tensor | None = None,  # [L, D] or [L, Q, D]
    key_padding_mask: Tensor | None = None,  # [L, T] bool
    lengths: Tensor | None = None,  # [L] int
    times: Tensor | None = None,  # [L, T] or [T]; [N] with cu_seqlens
    duration: Tensor | float | None = None,  # [L] or one number
    cu_seqlens: Tensor | None = None,  # [B + 1] int
    max_seqlen: int | None = None,
) -> None:
    """Finds wrong values in one batch before a run: call it once on your loader's first batch.

    Args:
        frames: [B, T, D], or in any other form that `TemporalMoE` takes (one clip without batch as `frames[None]`).
        question: [B, D] or [B, Q, D].
        key_padding_mask: [B, T] bool, True = ignore.
        lengths: [B] integers.
        times: [B, T] or [T], when each frame was taken.
        duration: [B] or a number, each clip's length in the unit of `times`.
        cu_seqlens: [B + 1] integers, where packed clips start and the last one ends.
        max_seqlen: the longest packed clip's number of frames.

    Raises:
        ValueError: a shape or dtype that the layers refuse, frames that hold NaN or infinity outside the padding,
            lengths outside 0 ... T, packed clips that overlap, leave frames out or are longer than `max_seqlen`,
            padding that looks inverted (every clip that has any starts with it), times that are not sorted, not
            finite or all equal, a duration that is not positive, that the times exceed, or of which the times of
            every clip span less than half (two different units).

    Examples:
        >>> import torch
        >>> from gaussian_moe import check_inputs
        >>> check_inputs(torch.randn(2, 60, 16), lengths=torch.tensor([60, 31]))
    """
    _checks.tensors(
        frames=frames,
        question=question,
        key_padding_mask=key_padding_mask,
        lengths=lengths,
        times=times,
        cu_seqlens=cu_seqlens,
    )
    if question is not None and not bool(question.isfinite().all()):
        row = (~question.isfinite()).flatten(1).any(-1).nonzero()[0].item() if question.dim() > 1 else 0
        raise ValueError(f"question holds NaN or infinity, first for clip {row}")
    timing = Timing(key_padding_mask, lengths, times, duration)
    num_packed = frames.shape[0] if cu_seqlens is not None else 0
    frames, _, timing = padded(frames, None, timing, cu_seqlens, max_seqlen)
    if cu_seqlens is not None:
        assert max_seqlen is not None
        _check_packing(cu_seqlens, max_seqlen, num_packed)
    if frames.dim() < 3:
        raise ValueError(f"frames must have shape [B, T, D], got {list(frames.shape)}")
    leading = tuple(frames.shape[:-2])
    if len(leading) == 1:
        _check_batch(frames, question, lengths)
    key_padding_mask, lengths, times, duration = flat_timing(timing, leading, frames.shape[-2])
    frames = flattened(frames, len(leading))
    padding = padding_from_lengths(frames, key_padding_mask, lengths)
    num_clips, num_frames = frames.shape[:2]
    if lengths is not None and bool(((lengths < 0) | (lengths > num_frames)).any()):
        raise ValueError(
            f"lengths must be in 0 ... {num_frames}, got {lengths.tolist()}: they count the rows of frames, of which "
            f"a backbone may make one from several pictures"
        )
    if key_padding_mask is not None and num_frames:
        _check_polarity(key_padding_mask)
    valid = torch.ones(num_clips, num_frames, dtype=torch.bool, device=frames.device)
    if padding is not None:
        valid = ~padding
    broken = ~frames.isfinite().all(-1) & valid
    if bool(broken.any()):
        clip, frame = broken.nonzero()[0].tolist()
        raise ValueError(f"frames hold NaN or infinity, first in clip {clip}, frame {frame}")
    # Its own checks: duration without times, shapes and dtypes.
    frame_times(frames, padding, times, duration)
    if times is None:
        return
    durations = None
    if duration is not None:
        # On the CPU: some devices have no float64.
        known = duration.cpu() if isinstance(duration, Tensor) else duration
        durations = torch.as_tensor(known, dtype=torch.float64).expand(num_clips).tolist()
    for clip, times_of_clip in enumerate(times.expand(num_clips, num_frames)):
        _check_times(clip, times_of_clip[valid[clip]], None if durations is None else durations[clip])
    if durations is not None:
        _check_unit([each[valid[clip]] for clip, each in enumerate(times.expand(num_clips, num_frames))], durations)


def _check_batch(frames: Tensor, question: Tensor | None, lengths: Tensor | None) -> None:
    """Questions and lengths are of the clips that the frames are of."""
    num_clips, num_frames = frames.shape[:2]
    for name, tensor in (("question", question), ("lengths", lengths)):
        # A question without batch belongs to one clip without batch.
        if tensor is None or tensor.dim() < (2 if name == "question" else 1):
            continue
        if tensor.shape[0] != num_clips:
            turned = "; frames are batch first: call frames.transpose(0, 1)" if tensor.shape[0] == num_frames else ""
            raise ValueError(f"frames hold {num_clips} clips, but {name} is of {tensor.shape[0]}{turned}")


def _check_packing(cu_seqlens: Tensor, max_seqlen: int, num_frames: int) -> None:
    offsets = cu_seqlens.tolist()
    if offsets[0] != 0 or offsets[-1] != num_frames:
        raise ValueError(
            f"cu_seqlens must start with 0 and end with the number of frames, {num_frames}; got {offsets[0]} and "
            f"{offsets[-1]}"
        )
    lengths = [after - before for before, after in itertools.pairwise(offsets)]
    if min(lengths, default=0) < 0:
        raise ValueError(f"cu_seqlens must not fall: clip {lengths.index(min(lengths))} would end before it starts")
    if max(lengths, default=0) > max_seqlen:
        raise ValueError(
            f"max_seqlen must be at least the longest clip's number of frames, {max(lengths)}, got {max_seqlen}: "
            f"frames behind it would be left out in silence"
        )


def _check_polarity(mask: Tensor) -> None:
    """Padding stands at the end: where it only ever stands at the start, 1 probably meant keep."""
    padded = mask[mask.any(-1) & ~mask.all(-1)]
    if len(padded) and bool((padded[:, 0] & ~padded[:, -1]).all()):
        raise ValueError(
            "key_padding_mask ignores the first frames of every clip and keeps the last: True means ignore; "
            "if 1 means keep in yours, pass ~mask"
        )


def _check_times(clip: int, times: Tensor, duration: float | None) -> None:
    if not bool(times.isfinite().all()):
        raise ValueError(f"times hold NaN or infinity in clip {clip}")
    if bool((times.diff() < 0).any()):
        raise ValueError(f"times must be sorted within a clip; those of clip {clip} are not")
    if len(times) > 1 and bool(times[0] == times[-1]):
        raise ValueError(f"times of clip {clip} are all equal; drop times where frames are evenly spaced")
    if duration is None:
        return
    if not 0 < duration < math.inf:
        raise ValueError(f"duration must be positive and finite, got {duration:g} for clip {clip}")
    span = float(times[-1] - times[0]) if len(times) else 0.0
    # The slack is for times and a duration that were rounded to float32.
    if span > duration * (1 + 1e-6):
        raise ValueError(f"times of clip {clip} span {span:g} but duration is {duration:g}; give both in the same unit")


def _check_unit(times: list[Tensor], durations: list[float]) -> None:
    """One clip may be sampled at its beginning only, but hardly every clip."""
    shares = [
        float(each[-1] - each[0]) / length for each, length in zip(times, durations, strict=True) if len(each) > 1
    ]
    if shares and max(shares) < 0.5:
        raise ValueError(
            f"the times of every clip span less than half of its duration, at most {max(shares):.0%}, so that most "
            f"experts would see nothing; give both in the same unit"
        )
