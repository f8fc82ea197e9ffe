"""Experts in the order of their scores. E experts."""

from __future__ import annotations

import torch
from torch import Tensor


def descending(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The scores [..., E] from the largest to the smallest, and whose they are; equal ones in the order of experts."""
    if not torch.compiler.is_exporting():
        # `topk` leaves the order of equal scores open.
        values, indices = scores.sort(dim=-1, descending=True, stable=True)
        return values, indices
    # ONNX has no stable sort: each expert's place is counted, and places are never equal.
    mine, others = scores.unsqueeze(-1), scores.unsqueeze(-2)
    experts = torch.arange(scores.shape[-1], device=scores.device)
    before = (others > mine) | ((others == mine) & (experts < experts.unsqueeze(-1)))
    indices = before.sum(-1).argsort(-1)
    return scores.gather(-1, indices), indices
