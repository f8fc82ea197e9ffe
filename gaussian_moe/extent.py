"""From when to when a clip lasts: what fractions of it are fractions of.

B batch, T frames.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from . import _checks
from .clips import flat_timing
from .timeline import Timing, extent, padding_from_lengths


class Extent(NamedTuple):
    """When each clip starts and how long it lasts, in the unit of its times.

    Examples:
        >>> import torch
        >>> from gaussian_moe import clip_extent
        >>> clip_extent(torch.tensor([[3.0, 4.0, 5.0]]))
        Extent(start=tensor([3.]), duration=tensor([2.]))
    """

    start: Tensor
    """[B]"""
    duration: Tensor
    """[B]"""


def clip_extent(
    times: Tensor,  # [B, T] or [T]
    *,
    key_padding_mask: Tensor | None = None,  # [B, T] bool
    lengths: Tensor | None = None,  # [B] int
    duration: Tensor | float | None = None,  # [B] or one number
) -> Extent:
    """When each clip starts and how long it lasts as a layer takes it that is given the same arguments.

    The start is the first valid time; the duration is the last valid time minus the first, unless it is given. So
    spans of a routing come in the unit of `times`: `best_span(routing, **clip_extent(times)._asdict())`.

    Args:
        times: [B, T] or [T], when each frame was taken.
        key_padding_mask: [B, T] bool, True = ignore.
        lengths: [B] integers, valid frames at the start of each clip; instead of the mask.
        duration: [B] or a number, if the layer was given one.

    Returns:
        [B] each, or the clips' other leading dimensions; none where all is one for all clips. float32 or wider,
        float64 for whole numbers. The duration of a clip with no valid frame is 0 where none is given.

    Raises:
        ValueError: a wrong shape or dtype.

    Examples:
        >>> import torch
        >>> from gaussian_moe import TemporalMoE, best_span, clip_extent
        >>> moe, times, lengths = TemporalMoE(16, heads=4), torch.arange(60) / 2 + 10, torch.tensor([60, 21])
        >>> frames = torch.randn(2, 60, 16)
        >>> _, routing = moe(torch.randn(2, 16), frames, lengths=lengths, times=times, return_routing=True)
        >>> span = best_span(routing, **clip_extent(times, lengths=lengths)._asdict())
        >>> bool((span.start >= 10).all() and (span.end <= torch.tensor([39.5, 20.0])).all())
        True
    """
    _checks.tensors(times=times, key_padding_mask=key_padding_mask, lengths=lengths)
    if times.dim() == 0 or times.dtype == torch.bool or times.is_complex():
        raise ValueError(f"times must be real numbers [B, T] or [T], got {times.dtype} {list(times.shape)}")
    # Of several, the leading dimensions of whatever has most.
    given = [times.shape[:-1], *([] if key_padding_mask is None else [key_padding_mask.shape[:-1]])]
    given += [x.shape for x in (lengths, duration) if isinstance(x, Tensor)]
    leading, num_frames = max(given, key=len), times.shape[-1]
    timing = flat_timing(Timing(key_padding_mask, lengths, times, duration), tuple(leading), num_frames)
    assert timing.times is not None
    times = timing.times.expand(leading.numel(), -1)
    padding = padding_from_lengths(times, timing.key_padding_mask, timing.lengths)
    # Whole numbers, as milliseconds since 1970, keep their digits where the device has float64.
    wide = torch.float64 if not times.is_floating_point() and times.device.type != "mps" else torch.float32
    times = times.to(torch.promote_types(times.dtype, wide))
    if num_frames == 0:
        # As if a frame were there, and padding.
        times, padding = (
            times.new_zeros(len(times), 1),
            torch.ones(len(times), 1, dtype=torch.bool, device=times.device),
        )
    start, length = extent(times, padding, timing.duration)
    return Extent(start.reshape(leading), length.reshape(leading))
