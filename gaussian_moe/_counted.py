"""Which questions of a batch count in its statistics and losses.

B batch (or B, Q: clips and their questions), T frames, E experts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import _checks
from .clips import clip_dimensions, flat_timing
from .routing import Routing, check_routing
from .timeline import Timing, padding_from_lengths


def counted(
    routing: Routing,
    question_padding_mask: Tensor | None,  # [B] or [B, Q] bool, True = ignore
    key_padding_mask: Tensor | None,  # [B, T] bool, True = ignore
    lengths: Tensor | None,  # [B] int
) -> Tensor:
    """The shape of the questions, bool: those that are not padding and whose clip has a frame.

    Raises:
        ValueError: a wrong shape or dtype, or both a mask and lengths of the clips.
    """
    check_routing(routing)
    leading = routing.gates.shape[:-1]
    _checks.padding_mask("question_padding_mask", question_padding_mask, leading)
    if question_padding_mask is None:
        counts = torch.ones(leading, dtype=torch.bool, device=routing.gates.device)
    else:
        counts = ~question_padding_mask
    if key_padding_mask is None and lengths is None:
        return counts
    timing = Timing(key_padding_mask, lengths)
    clips = clip_dimensions(timing, len(leading))
    # One frame tells whether lengths are 0.
    num_frames = key_padding_mask.shape[-1] if key_padding_mask is not None and key_padding_mask.dim() else 1
    flat = flat_timing(timing, tuple(leading[:clips]), num_frames)
    frames = routing.gates.new_empty(leading[:clips].numel(), num_frames)
    padding = padding_from_lengths(frames, flat.key_padding_mask, flat.lengths)
    assert padding is not None
    has_frames = ~padding.all(-1).reshape(leading[:clips])
    return counts & has_frames.reshape((*has_frames.shape, *[1] * (len(leading) - clips)))


def mean(values: Tensor, counts: Tensor) -> Tensor:
    """Mean of the values [*, ...] over the questions [*] that count; 0 where none does."""
    if not counts.dim():
        # One question: PyTorch takes a sum over no dimension for one over all.
        return values.masked_fill(~counts, 0.0)
    over = list(range(counts.dim()))
    counts = counts.reshape(*counts.shape, *[1] * (values.dim() - counts.dim()))
    return values.masked_fill(~counts, 0.0).sum(over) / counts.sum().clamp(min=1)


def wide_logits(routing: Routing, counts: Tensor) -> Tensor:
    """[..., E] in float32 or wider; those of questions that do not count are 0: also NaN there gets no gradient."""
    logits = routing.logits.to(torch.promote_types(routing.logits.dtype, torch.float32))
    return logits.masked_fill(~counts.unsqueeze(-1), 0.0)


def by_expert(routing: Routing, values: Tensor) -> Tensor:
    """Values [..., K] of the experts in use at the experts' numbers, [..., E], 0 for the others."""
    return torch.zeros_like(routing.logits, dtype=values.dtype).scatter_add(-1, routing.indices, values)
