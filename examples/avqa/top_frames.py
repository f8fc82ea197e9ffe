"""Which frames a question attends to most: the selection of TSPM (Li et al., ACM MM 2024), section 3.3.

B batch, Q questions of one clip, T frames, D channels, K frames that are kept.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from gaussian_moe.attention import Attention


@torch.no_grad()
def attention_weights(
    attention: Attention,
    queries: Tensor,  # [B, Q, D]
    frames: Tensor,  # [B, T, D]
    padding: Tensor | None = None,  # [B, T] bool
) -> Tensor:  # [B, Q, T] float32 or wider
    """How much each query attends to each frame, averaged over the heads, without dropout; padding gets 0.

    Selecting by them has no gradient, so they have none.
    """
    D = attention.dim
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    query = rearrange(F.linear(queries, weight[:D], bias[:D]), "b q (h c) -> b h q c", h=attention.heads)
    key = rearrange(F.linear(frames, weight[D : 2 * D]), "b t (h c) -> b h t c", h=attention.heads)
    scores = (query @ key.transpose(-1, -2)).to(torch.promote_types(query.dtype, torch.float32))
    scores = scores / math.sqrt(query.shape[-1])
    if padding is not None:
        scores = scores.masked_fill(padding[:, None, None], torch.finfo(scores.dtype).min)
    weights = scores.softmax(-1).mean(1)
    return weights if padding is None else weights.masked_fill(padding.unsqueeze(1), 0.0)


def top_frames(
    weights: Tensor,  # [B, Q, T]
    count: int,
    padding: Tensor | None = None,  # [B, T] bool
) -> tuple[Tensor, Tensor]:  # [B, Q, K] int64, [B, Q, K] bool
    """The `count` frames of largest weight (all where there are fewer), in the order of time; ties go to the earlier.

    The second result is True where a clip has fewer valid frames and a padded one had to stand in.
    """
    scores = weights if padding is None else weights.masked_fill(padding.unsqueeze(1), -1.0)
    order = scores.argsort(dim=-1, descending=True, stable=True)
    numbers = order[..., :count].sort(-1).values
    if padding is None:
        return numbers, torch.zeros_like(numbers, dtype=torch.bool)
    return numbers, padding.unsqueeze(1).expand(-1, weights.shape[1], -1).gather(-1, numbers)
