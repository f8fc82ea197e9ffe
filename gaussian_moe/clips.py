"""Clips as they come: under any leading dimensions, packed one behind the other, or as a jagged nested tensor.

The layers compute on clips with one leading dimension, padded to one length; what comes otherwise is brought into
that form first, and results into the form that came.

B batch, S streams, Q questions of one clip, T frames, N frames of all clips, D channels; L any leading dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from . import _checks
from .routing import Routing
from .timeline import Timing


class Clips(NamedTuple):
    """Clips and their questions in the layers' own form, and the leading dimensions that they came with."""

    question: Tensor
    """[B, D] or [B, Q, D]"""
    frames: Tensor
    """[B, T, D]"""
    streams: Tensor | None
    """[B, S, T, D]"""
    timing: Timing
    leading: tuple[int, ...]

    def restored(self, result: Tensor) -> Tensor:
        """[B, ...] to [L, ...]."""
        if len(self.leading) == 1:
            return result
        return result.reshape(*self.leading, *result.shape[1:])

    def restored_routing(self, routing: Routing) -> Routing:
        """Each field's [B, ...] to [L, ...]."""
        return Routing(*(None if field is None else self.restored(field) for field in routing))  # type: ignore[arg-type]

    def flattened_routing(self, routing: Routing) -> Routing:
        """Each field's [L, ...] to [B, ...]."""
        n = len(self.leading)
        return Routing(*(None if field is None else flattened(field, n) for field in routing))  # type: ignore[arg-type]


def arranged(
    question: Tensor,  # [L, D] or [L, Q, D]
    frames: Tensor,  # [L, T, D], [N, D] with cu_seqlens, or nested
    streams: Tensor | Sequence[Tensor] | None,
    weight: Tensor,  # [..., D]
    num_streams: int = 0,
    *,
    key_padding_mask: Tensor | None = None,  # [L, T] bool
    lengths: Tensor | None = None,  # [L] int
    times: Tensor | None = None,  # [L, T] or [T]; [N] with cu_seqlens
    duration: Tensor | float | None = None,  # [L] or one number
    cu_seqlens: Tensor | None = None,  # [B + 1] int
    max_seqlen: int | None = None,
) -> Clips:
    """Brings clips into the layers' own form.

    Args:
        question, frames, streams, key_padding_mask, lengths, times, duration, cu_seqlens, max_seqlen: as
            `TemporalMoE.forward` takes them.
        weight: one of the layer's, for its number of channels and its dtype.
        num_streams: of the layer; 0 if it has none.

    Raises:
        ValueError: forms that do not go together, or a wrong shape or dtype.
    """
    _checks.tensors(
        question=question,
        frames=frames,
        key_padding_mask=key_padding_mask,
        lengths=lengths,
        times=times,
        cu_seqlens=cu_seqlens,
    )
    # Two questions, and no comparison of their answers: num_streams may be a symbol of a compiled graph.
    if streams is None and num_streams:
        raise ValueError(f"streams are missing: this layer has num_streams={num_streams}")
    if streams is not None and not num_streams:
        raise ValueError("streams were given to a layer without; build it with num_streams=S")
    timing = Timing(key_padding_mask, lengths, times, duration)
    frames, streams, timing = padded(frames, streams, timing, cu_seqlens, max_seqlen)
    leading = _leading(question, frames, weight)
    if streams is not None:
        streams = _one_tensor(streams, frames, weight, num_streams)
    n = len(leading)
    streams = None if streams is None else flattened(streams, n)
    timing = flat_timing(timing, leading, frames.shape[-2])
    return Clips(flattened(question, n), flattened(frames, n), streams, timing, leading)


def padded(
    frames: Tensor,
    streams: Tensor | Sequence[Tensor] | None,
    timing: Timing,
    cu_seqlens: Tensor | None,
    max_seqlen: int | None,
) -> tuple[Tensor, Tensor | Sequence[Tensor] | None, Timing]:
    """Packed and nested clips padded to the longest; others as they are.

    Raises:
        ValueError: forms that do not go together.
    """
    packed = cu_seqlens is not None
    if (frames.is_nested or packed) and (timing.key_padding_mask is not None or timing.lengths is not None):
        raise ValueError(
            f"{'cu_seqlens' if packed else 'nested frames'} already say how long each clip is; "
            f"drop key_padding_mask and lengths"
        )
    if max_seqlen is not None and not packed:
        raise ValueError("max_seqlen belongs to packed frames [N, D]; give cu_seqlens too")
    if frames.is_nested:
        if packed:
            raise ValueError("nested frames already say how long each clip is; drop cu_seqlens and max_seqlen")
        times = None if timing.times is None else _padded("times", timing.times)
        if isinstance(streams, Sequence):
            streams = [_padded(f"streams[{number}]", stream) for number, stream in enumerate(streams)]
        timing = Timing(timing.key_padding_mask, _nested_lengths("frames", frames), times, timing.duration)
        return _padded("frames", frames), streams, timing
    if cu_seqlens is None:
        return frames, streams, timing
    index, lengths = _places(frames, cu_seqlens, max_seqlen)
    times = timing.times
    if times is not None:
        _checks.shape("times", times, [frames.shape[0]])
        times = _taken(times, index)
    if isinstance(streams, Tensor):
        _checks.shape("streams", streams, ["S", *frames.shape])
        streams = streams.unbind(0)
    if streams is not None:
        for number, stream in enumerate(streams):
            _checks.shape(f"streams[{number}]", stream, list(frames.shape))
        streams = [_taken(stream, index) for stream in streams]
    return _taken(frames, index), streams, Timing(timing.key_padding_mask, lengths, times, timing.duration)


def clip_dimensions(timing: Timing, most: int) -> int:
    """How many leading dimensions clips have, of `most` that they share with their questions: as what is given has.

    At least one, where there is one.
    """
    mask, lengths, times, duration = timing
    told = [x.dim() - 1 for x in (mask, times) if x is not None and x.dim() > 1]
    told += [x.dim() for x in (lengths, duration) if isinstance(x, Tensor) and x.dim()]
    return min(max([1, *told]), most)


def flat_timing(timing: Timing, leading: tuple[int, ...], num_frames: int) -> Timing:
    """[L, ...] to [B, ...].

    Raises:
        ValueError: a shape with other leading dimensions.
    """
    mask, lengths, times, duration = timing
    n = len(leading)
    if n == 1:
        return timing
    _checks.padding_mask("key_padding_mask", mask, [*leading, num_frames])
    if lengths is not None:
        _checks.shape("lengths", lengths, leading)
    if times is not None and times.dim() != 1:
        _checks.shape("times", times, [*leading, num_frames])
        times = flattened(times, n)
    if isinstance(duration, Tensor) and duration.dim():
        _checks.shape("duration", duration, leading)
        duration = flattened(duration, n)
    mask, lengths = (None if x is None else flattened(x, n) for x in (mask, lengths))
    return Timing(mask, lengths, times, duration)


def _leading(question: Tensor, frames: Tensor, weight: Tensor) -> tuple[int, ...]:
    """The leading dimensions that frames and question share, after checking both."""
    D = weight.shape[-1]
    if frames.dim() < 3 and not (frames.dim() == 2 and question.dim() == 1):
        hint = "; a clip without batch dimension goes with a question [D]" if frames.dim() == 2 else ""
        if question.dim() == 3:
            hint = "; are question and frames swapped?"
        raise ValueError(f"frames must have shape [B, T, {D}], got {list(frames.shape)}{hint}")
    leading = tuple(frames.shape[:-2])
    before = [*leading] if len(leading) != 1 else ["B"]
    _checks.channels("frames", frames, [*before, "T"], weight)
    with_axis = question.dim() == len(leading) + 2
    wanted = [*leading, *(question.shape[-2:-1] if with_axis else []), D]
    if list(question.shape) != wanted:
        shown = f"[{', '.join(map(str, [*leading, *(['Q'] if with_axis else []), D]))}]"
        raise ValueError(
            f"question must have shape {shown} for frames {list(frames.shape)}, got {list(question.shape)}"
            f"{_hint(question, leading, frames.shape[-2])}"
        )
    _checks.channels("question", question, wanted[:-1], weight)
    return leading


def _hint(question: Tensor, leading: tuple[int, ...], num_frames: int) -> str:
    """What may have been meant by a question that does not fit the frames."""
    if question.dim() != 2:
        return ""
    if len(leading) == 2:
        return "; several streams of the same clips go into streams=, and patches of a frame are averaged before"
    if len(leading) == 1 and question.shape[0] == num_frames:
        return "; frames are batch first: frames.transpose(0, 1)"
    if len(leading) == 1 and leading[0] and question.shape[0] % leading[0] == 0:
        return "; several questions about each clip are [B, Q, D]"
    return ""


def _one_tensor(
    streams: Tensor | Sequence[Tensor], frames: Tensor, weight: Tensor, num_streams: int
) -> Tensor:  # [L, S, T, D]
    if isinstance(streams, Tensor):
        _checks.channels("streams", streams, [*frames.shape[:-2], num_streams, frames.shape[-2]], weight)
        return streams
    if len(streams) != num_streams:
        raise ValueError(f"streams must hold {num_streams} tensors, got {len(streams)}")
    for number, stream in enumerate(streams):
        _checks.channels(f"streams[{number}]", stream, frames.shape[:-1], weight)
    return torch.stack(tuple(streams), dim=-3)


def flattened(x: Tensor, n: int) -> Tensor:
    """[L, ...] with n leading dimensions to [B, ...]."""
    return x if n == 1 else x.flatten(0, n - 1) if n else x.unsqueeze(0)


def _places(
    frames: Tensor,  # [N, D]
    cu_seqlens: Tensor,  # [B + 1] int
    max_seqlen: int | None,
) -> tuple[Tensor, Tensor]:  # [B, T], [B]
    """Where each clip's frames stand among all, and how many they are; places behind a clip's end are any."""
    _checks.shape("frames", frames, ["N", "D"])
    _checks.shape("cu_seqlens", cu_seqlens, ["B + 1"])
    if cu_seqlens.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"cu_seqlens must be int32 or int64, got {cu_seqlens.dtype}")
    if cu_seqlens.shape[0] == 0:
        raise ValueError("cu_seqlens must hold B + 1 offsets, 0 first and N last; got none")
    if max_seqlen is None:
        raise ValueError(
            "cu_seqlens needs max_seqlen, the longest clip's number of frames: int(cu_seqlens.diff().max()) "
            "where waiting for the device does not matter"
        )
    place = cu_seqlens[:-1].long().unsqueeze(-1) + torch.arange(max_seqlen, device=frames.device)
    return place.clamp(max=max(frames.shape[0] - 1, 0)), cu_seqlens.diff()


def _taken(x: Tensor, index: Tensor) -> Tensor:
    """[N, ...] to [B, T, ...]."""
    if x.shape[0] == 0:
        return x.new_zeros(*index.shape, *x.shape[1:])
    return x.index_select(0, index.flatten()).reshape(*index.shape, *x.shape[1:])


def _nested_lengths(name: str, nested: Tensor) -> Tensor:
    if nested.layout != torch.jagged:
        raise ValueError(f"{name} must be nested with layout torch.jagged, got {nested.layout}")
    offsets: Tensor = nested.offsets()  # type: ignore[attr-defined]  # of nested tensors only
    return offsets.diff()


def _padded(name: str, x: Tensor) -> Tensor:
    """A nested tensor [B, any, ...] to [B, T, ...]; others stay."""
    if not x.is_nested:
        return x
    _nested_lengths(name, x)
    padded: Tensor = torch.nested.to_padded_tensor(x, 0.0)
    return padded
