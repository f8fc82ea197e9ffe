"""Spans of time, and how far two of them overlap."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor


class Spans(NamedTuple):
    """Stretches of time with a confidence, all of one shape: fractions of the clip, or seconds.

    Examples:
        >>> import torch
        >>> from gaussian_moe import Spans
        >>> spans = Spans(torch.tensor([0.2]), torch.tensor([0.4]), torch.tensor([0.9]))
        >>> (spans.end - spans.start).shape
        torch.Size([1])
    """

    start: Tensor
    """[...], when the span starts."""
    end: Tensor
    """[...], when it ends."""
    confidence: Tensor
    """[...], in [0, 1]."""


Span: TypeAlias = Spans | tuple[Tensor, Tensor]
"""`Spans`, or a pair of tensors (start, end)."""


def temporal_iou(a: Span, b: Span) -> Tensor:
    """Length of the intersection over length of the union, in [0, 1], elementwise; shapes broadcast.

    0 where the spans only touch, and where either is empty (its end at or before its start).

    Args:
        a: `Spans`, or a pair (start, end), each [...].
        b: likewise, in the same unit.

    Returns:
        [...], of the broadcast shape.

    Raises:
        ValueError: a tensor in place of a pair.

    Examples:
        >>> import torch
        >>> from gaussian_moe import temporal_iou
        >>> temporal_iou((torch.tensor([0.0, 1.0]), torch.tensor([4.0, 2.0])), (torch.tensor(2.0), torch.tensor(6.0)))
        tensor([0.3333, 0.0000])
    """
    (a_start, a_end), (b_start, b_end) = _ends("a", a), _ends("b", b)
    common = _common(a_start, a_end, b_start, b_end)
    # Spans that overlap have their hull for a union. It is never rounded to less than what they have in common.
    hull = torch.maximum(a_end, b_end) - torch.minimum(a_start, b_start)
    return common / torch.where(common > 0, hull, 1.0)


def temporal_iop(prediction: Span, truth: Span) -> Tensor:
    """Length of the intersection over length of the prediction, in [0, 1], elementwise; shapes broadcast.

    NExT-GQA (Xiao et al., CVPR 2024, arXiv 2309.01327) asks by it whether what was looked at is evidence. As there, a
    prediction of no length has 1 inside the truth, its ends included, and 0 elsewhere.

    Args:
        prediction: `Spans`, or a pair (start, end), each [...].
        truth: likewise, in the same unit.

    Returns:
        [...], of the broadcast shape; 0 where a span's end is before its start.

    Raises:
        ValueError: a tensor in place of a pair.

    Examples:
        >>> import torch
        >>> from gaussian_moe import temporal_iop
        >>> temporal_iop((torch.tensor(0.0), torch.tensor(4.0)), (torch.tensor(3.0), torch.tensor(9.0)))
        tensor(0.2500)
    """
    (start, end), (true_start, true_end) = _ends("prediction", prediction), _ends("truth", truth)
    common = _common(start, end, true_start, true_end)
    share = common / torch.where(common > 0, end - start, 1.0)
    instant = (start == end) & (true_start <= start) & (end <= true_end)
    return share.masked_fill(instant, 1.0)


def _ends(name: str, span: Span) -> tuple[Tensor, Tensor]:
    # A tensor could be unpacked too, by its rows.
    if isinstance(span, Tensor):
        raise ValueError(f"{name} must be Spans or a pair (start, end); of a tensor x give (x[..., 0], x[..., 1])")
    return span[0], span[1]


def _common(a_start: Tensor, a_end: Tensor, b_start: Tensor, b_end: Tensor) -> Tensor:
    return (torch.minimum(a_end, b_end) - torch.maximum(a_start, b_start)).clamp(min=0)
