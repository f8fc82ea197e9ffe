"""When a routing looks: spans of time with a confidence.

B batch (or B, Q: clips and their questions), T frames, K experts in use, M Gaussians of one expert.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from . import _checks
from .clips import clip_dimensions, flat_timing
from .overlap import Span, Spans, temporal_iop, temporal_iou
from .routing import Routing, check_routing
from .timeline import Timing, frame_times, padding_from_lengths

__all__ = [
    "Span",
    "Spans",
    "best_span",
    "expert_spans",
    "gated_timeline",
    "peak_span",
    "temporal_iop",
    "temporal_iou",
]


def expert_spans(
    routing: Routing,
    num_stds: float = 1.0,
    *,
    duration: Tensor | float | None = None,  # [B] or one number
    start: Tensor | float | None = None,  # [B] or one number
) -> Spans:
    """The span of each expert in use, as far as its Gaussian reaches.

    `[center - n std, center + n std]`, cut at the clip's ends; the confidence is the expert's gate. NExT-GQA (Xiao et
    al., CVPR 2024, arXiv 2309.01327) has n = 1; CPL (Zheng et al., CVPR 2022) has center ± width/2 for a std of
    width/9, which is n = 4.5. An expert of M Gaussians has M spans, each with the gate times its share.

    Args:
        routing: what a layer returned; [B, K] or [B, Q, K].
        num_stds: n, at least 0.
        duration: [B] or a number, length of each clip in seconds (or any unit); spans are fractions without it.
        start: [B] or a number, when each clip starts in that unit, 0 where not given. Where the layer was given
            `times`, both are `clip_extent` of them. Give large ones, as seconds since 1970, as a float64 tensor.

    Returns:
        [B, K] or [B, Q, K], in the order of the gates; [B, K·M] or [B, Q, K·M] for M Gaussians.

    Raises:
        ValueError: `num_stds` below 0, `start` without `duration`, or a wrong shape.

    Examples:
        >>> import torch
        >>> from gaussian_moe import TemporalMoE, expert_spans
        >>> moe = TemporalMoE(dim=16, num_experts=7, top_k=3, heads=4)
        >>> _, routing = moe(torch.randn(2, 16), torch.randn(2, 60, 16), return_routing=True)
        >>> spans = expert_spans(routing, duration=torch.tensor([60.0, 42.5]))
        >>> spans.start.shape, bool((spans.end <= torch.tensor([[60.0], [42.5]])).all())
        (torch.Size([2, 3]), True)
    """
    check_routing(routing)
    if not num_stds >= 0:
        raise ValueError(f"num_stds must be at least 0, got {num_stds}")
    reach = num_stds * routing.stds
    spans = Spans((routing.centers - reach).clamp(0.0, 1.0), (routing.centers + reach).clamp(0.0, 1.0), routing.gates)
    if routing.shares is not None:
        spans = Spans(
            spans.start.flatten(-2), spans.end.flatten(-2), (routing.gates.unsqueeze(-1) * routing.shares).flatten(-2)
        )
    return _in_unit(spans, duration, start)


def best_span(
    routing: Routing,
    num_stds: float = 1.0,
    *,
    rule: str = "confidence",
    duration: Tensor | float | None = None,  # [B] or one number
    start: Tensor | float | None = None,  # [B] or one number
) -> Spans:
    """One span for each question, chosen among `expert_spans`.

    By confidence, the span with the largest gate; by vote, the span i with the largest `sum_j c_j IoU(i, j)`, c the
    confidence: with equal confidences that is the vote among proposals of CPL (Zheng et al., CVPR 2022), which
    NExT-GQA (CVPR 2024) takes over. Of equals the first.

    Args:
        routing: what a layer returned; [B, K] or [B, Q, K].
        num_stds: how far a Gaussian reaches, as in `expert_spans`.
        rule: "confidence" or "vote".
        duration: [B] or a number, length of each clip; spans are fractions without it.
        start: [B] or a number, when each clip starts, in the unit of `duration`.

    Returns:
        [B] or [B, Q].

    Raises:
        ValueError: another rule, or as `expert_spans`.

    Examples:
        >>> import torch
        >>> from gaussian_moe import Routing, best_span
        >>> centers, gates = torch.tensor([[0.2, 0.7, 0.75]]), torch.tensor([[0.4, 0.3, 0.3]])
        >>> stds, indices = torch.full((1, 3), 0.1), torch.tensor([[1, 4, 5]])
        >>> routing = Routing(gates, indices, centers, stds, torch.zeros(1, 7), None)
        >>> [round(float(best_span(routing, rule=rule, duration=60.0).start), 1) for rule in ("confidence", "vote")]
        [6.0, 36.0]
    """
    if rule not in ("confidence", "vote"):
        raise ValueError(f'rule must be "confidence" or "vote", got {rule!r}')
    spans = expert_spans(routing, num_stds)
    score = spans.confidence
    if rule == "vote":
        rows, columns = (Spans(*(field.unsqueeze(axis) for field in spans)) for axis in (-1, -2))
        score = (columns.confidence * temporal_iou(rows, columns)).sum(-1)
    best = score.argmax(-1, keepdim=True)
    return _in_unit(Spans(*(field.gather(-1, best).squeeze(-1) for field in spans)), duration, start)


def gated_timeline(routing: Routing) -> Tensor:  # [B, T]
    """How much each frame counts, over all experts: `sum_k p_k g_kt`. QA-TIGER (arXiv 2503.04459), section 3.3.

    Args:
        routing: with its weights, [B, K, T] or [B, Q, K, T].

    Returns:
        [B, T] or [B, Q, T], float32 or wider; padded frames have 0.

    Raises:
        ValueError: a routing without weights.

    Examples:
        >>> import torch
        >>> from gaussian_moe import QuestionRouter, gated_timeline
        >>> router = QuestionRouter(dim=16, num_experts=7, top_k=3, heads=4)
        >>> gated_timeline(router(torch.randn(2, 16), torch.randn(2, 60, 16))).shape
        torch.Size([2, 60])
    """
    check_routing(routing)
    if routing.weights is None:
        raise ValueError("routing.weights are missing; call the layer with return_routing=True")
    return (routing.gates.to(routing.weights.dtype).unsqueeze(-1) * routing.weights).sum(-2)


def peak_span(
    routing: Routing | Tensor,  # or [B, T]
    threshold: float = math.exp(-0.5),
    *,
    key_padding_mask: Tensor | None = None,  # [B, T] bool
    lengths: Tensor | None = None,  # [B] int
    times: Tensor | None = None,  # [B, T] or [T]
    duration: Tensor | float | None = None,  # [B] or one number
    start: Tensor | float | None = None,  # [B] or one number
) -> Spans:
    """The stretch around the peak of `gated_timeline` in which it stays at or above `threshold` times its peak.

    Unlike one expert's span it grows where several experts look at the same time. To cut a map of weights at a share
    of its peak and to keep what is connected is how class activation maps are turned into boxes (Zhou et al., CVPR
    2016, there 0.2, in two dimensions). Between two frames the timeline is taken as linear. One Gaussian alone gives
    center ± std by the default of exp(-1/2), as `expert_spans` does.

    Args:
        routing: with its weights, [B, K, T] or [B, Q, K, T]; or any weights over time [B, T] or [B, Q, T], at least
            0: those of an attention, to compare.
        threshold: share of the peak, in (0, 1].
        key_padding_mask: [B, T] bool, as the layer was given it.
        lengths: [B] integers, as the layer was given them.
        times: [B, T] or [T], as the layer was given them.
        duration: [B] or a number, length of each clip, in the unit of `times` if there are any; spans are fractions
            without it.
        start: [B] or a number, when each clip starts, in the unit of `duration`.

    Returns:
        [B] or [B, Q]; the confidence is the span's part of the timeline's sum. A clip with no frames gives 0, 0, 0.

    Raises:
        ValueError: a routing without weights, `threshold` outside (0, 1], `start` without `duration`, a wrong shape.

    Examples:
        >>> import torch
        >>> from gaussian_moe import QuestionRouter, peak_span
        >>> router, frames = QuestionRouter(dim=16, heads=4), torch.randn(2, 60, 16)
        >>> peak_span(router(torch.randn(2, 16), frames), duration=60.0).start.shape
        torch.Size([2])
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1], got {threshold}")
    line = routing if isinstance(routing, Tensor) else gated_timeline(routing)
    if line.dim() == 0 or not line.is_floating_point():
        raise ValueError(
            f"weights over time must be floating point [B, T] or [B, Q, T], got {line.dtype} {list(line.shape)}"
        )
    line = line.to(torch.promote_types(line.dtype, torch.float32))
    leading, frames = line.shape[:-1], line.shape[-1]
    if not frames:
        nothing = line.sum(-1)
        return Spans(nothing, nothing, nothing)
    timing = Timing(key_padding_mask, lengths, times, None if times is None else duration)
    n = clip_dimensions(timing, len(leading))
    mask, lengths, times, by_clip = flat_timing(timing, tuple(leading[:n]), frames)
    line = line.reshape(leading[:n].numel(), leading[n:].numel(), frames)  # [B, Q, T]
    by_frame = line.movedim(-1, 1)
    padding = padding_from_lengths(by_frame, mask, lengths)
    place = frame_times(by_frame, padding, times, by_clip)
    place = place.expand(len(line), -1).unsqueeze(1).expand_as(line)
    valid = torch.ones_like(line, dtype=torch.bool)
    if padding is not None:
        valid = ~padding.unsqueeze(1).expand_as(line)
    line = line.masked_fill(~valid, 0.0)
    peak, at = line.max(-1, keepdim=True)
    level = threshold * peak
    frame = torch.arange(frames, device=line.device)
    below = valid & (line < level)
    # The last frame before the peak and the first one behind it that are below the level; -1 and T where none is.
    before = torch.where(below & (frame < at), frame, -1).amax(-1, keepdim=True)
    behind = torch.where(below & (frame > at), frame, frames).amin(-1, keepdim=True)
    inside = valid & (frame > before) & (frame < behind)
    first = torch.where(inside, frame, frames - 1).amin(-1, keepdim=True)
    last = torch.where(inside, frame, 0).amax(-1, keepdim=True)
    spans = Spans(
        _crossing(line, place, level, before, first),
        _crossing(line, place, level, behind, last),
        (line * inside).sum(-1) / line.sum(-1).clamp(min=torch.finfo(line.dtype).tiny),
    )
    empty = peak.squeeze(-1) <= 0
    spans = Spans(*(field.masked_fill(empty, 0.0).reshape(leading) for field in spans))
    return _in_unit(spans, duration, start)


def _in_unit(spans: Spans, duration: Tensor | float | None, start: Tensor | float | None) -> Spans:
    """Fractions of a clip in the unit of its duration."""
    if duration is None:
        if start is not None:
            raise ValueError("start is in the unit of duration; give duration too")
        return spans
    length = _per_clip("duration", duration, spans.start)
    offset = 0.0 if start is None else _per_clip("start", start, spans.start)
    return Spans(offset + length * spans.start, offset + length * spans.end, spans.confidence)


def _per_clip(name: str, value: Tensor | float, like: Tensor) -> Tensor | float:
    """One number, or [B], or the clips' leading dimensions, in a shape that broadcasts against [B, ...]."""
    if not isinstance(value, Tensor):
        return value
    if value.dim():
        _checks.shape(name, value, like.shape[: min(value.dim(), like.dim())])
    # Also a tensor without dimensions gets some: it would not lend its precision otherwise.
    return value.reshape((*value.shape, *[1] * (like.dim() - value.dim())))


def _crossing(line: Tensor, place: Tensor, level: Tensor, outside: Tensor, inside: Tensor) -> Tensor:
    """When the timeline crosses the level between a frame outside and one inside; where none is outside, the latter's
    place. Frames are given by number, [..., 1]."""
    exists = (outside >= 0) & (outside < line.shape[-1])
    outside = torch.where(exists, outside, inside)
    low, high = line.gather(-1, outside), line.gather(-1, inside)
    there, here = place.gather(-1, outside), place.gather(-1, inside)
    part = (high - level) / torch.where(exists, high - low, 1.0)
    return torch.where(exists, here + part * (there - here), here).squeeze(-1)
