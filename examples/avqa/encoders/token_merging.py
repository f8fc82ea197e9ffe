"""Token merging: pairs of alike tokens of a vision transformer become one, weighted by how many they already stand for.

Bolya et al., Token Merging: Your ViT But Faster (ICLR 2023), section 3. Tokens are split into two sets by turns; each
of the first set looks for the most alike of the second, and the r most alike pairs are merged. The class token is in
the first set and never merges.

B pictures, N tokens, C channels of the keys, D channels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Merge(NamedTuple):
    """Which tokens merge: of the first set (even numbers) those kept, those merged, and into which of the second."""

    kept: Tensor  # [B, ceil(N/2) - r] int64, ascending: the class token comes first
    merged: Tensor  # [B, r] int64
    into: Tensor  # [B, r] int64, of the second set (odd numbers)


def match(
    keys: Tensor,  # [B, N, C]
    r: int,
) -> Merge:
    """The r pairs whose keys' cosine is largest; at most as many as there are tokens beside the class token, halved."""
    r = max(min(r, (keys.shape[1] - 1) // 2), 0)
    unit = F.normalize(keys, dim=-1)
    alike = unit[:, ::2] @ unit[:, 1::2].transpose(1, 2)
    if not r:
        every = torch.arange(alike.shape[1], device=keys.device).expand(alike.shape[0], -1)
        return Merge(every, every[:, :0], every[:, :0])
    alike[:, 0] = -torch.inf
    best, partner = alike.max(-1)
    order = best.argsort(dim=-1, descending=True, stable=True)
    merged = order[:, :r]
    return Merge(order[:, r:].sort(-1).values, merged, partner.gather(1, merged))


def merge(
    tokens: Tensor,  # [B, N, D]
    sizes: Tensor,  # [B, N], how many patches each token stands for
    which: Merge,
) -> tuple[Tensor, Tensor]:  # [B, N - r, D], [B, N - r]
    """Means weighted by sizes, and the sizes; kept tokens of the first set, then the second set."""
    weighted = torch.cat((tokens * sizes.unsqueeze(-1), sizes.unsqueeze(-1)), dim=-1)
    first, second = weighted[:, ::2], weighted[:, 1::2]
    second = second.scatter_add(1, _rows(which.into, second), first.gather(1, _rows(which.merged, first)))
    joined = torch.cat((first.gather(1, _rows(which.kept, first)), second), dim=1)
    total = joined[..., -1]
    return joined[..., :-1] / total.unsqueeze(-1), total


def _rows(numbers: Tensor, like: Tensor) -> Tensor:
    return numbers.unsqueeze(-1).expand(-1, -1, like.shape[-1])
