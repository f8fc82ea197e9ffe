"""Random routings of any shape, as a router would return them.

B batch, Q questions of one clip, T frames, E experts, K experts in use, M Gaussians of one expert.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gaussian_moe import Routing
from gaussian_moe.functional import gaussian_weights


def random_routing(
    *leading: int,
    num_experts: int = 5,
    top_k: int = 3,
    num_gaussians: int = 1,
    num_frames: int = 9,
    lengths: Tensor | None = None,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Routing:
    """Gates are the largest scores, renormalised; centers lie anywhere, stds between 0.01 and 0.2.

    Args:
        leading: [B] or [B, Q].
        lengths: [B] valid frames of each clip, for the weights.
    """
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=dtype)

    logits = 4 * random(*leading, num_experts) - 2
    gates, indices = logits.softmax(-1).sort(descending=True, stable=True)
    gates, indices = gates[..., :top_k], indices[..., :top_k]
    gates = gates / gates.sum(-1, keepdim=True)
    several = [num_gaussians] if num_gaussians > 1 else []
    centers = random(*leading, top_k, *several)
    stds = 0.01 + 0.19 * random(*leading, top_k, *several)
    shares = random(*leading, top_k, num_gaussians).softmax(-1) if several else None
    weights = None
    if num_frames:
        frames = torch.zeros(leading[0], num_frames, 1, dtype=dtype)
        each = gaussian_weights(centers.flatten(1), stds.flatten(1), frames, lengths=lengths)
        weights = each.view(*centers.shape, num_frames)
        if shares is not None:
            weights = (shares.unsqueeze(-1) * weights).sum(-2)
    return Routing(gates, indices, centers, stds, logits, weights, shares)


def relabelled(routing: Routing, order: Sequence[int]) -> Routing:
    """The same routing where expert i is called order[i]."""
    names = torch.tensor(order)
    return routing._replace(indices=names[routing.indices], logits=routing.logits[..., names.argsort()])
