"""What a router decides, as one value."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Routing(NamedTuple):
    """The experts in use for each clip, and when each of them looks.

    B stands for the leading dimensions of the question ([B], or [B, Q] for Q questions about one clip); E experts,
    K experts in use, M Gaussians of one expert, T frames. Fields are read by name; new ones are only ever added at the
    end.

    Example:
        >>> import torch
        >>> from gaussian_moe import QuestionRouter
        >>> router = QuestionRouter(dim=16, num_experts=7, top_k=3, heads=4)
        >>> routing = router(torch.randn(2, 16), torch.randn(2, 60, 16))
        >>> routing.gates.shape, routing.weights.shape
        (torch.Size([2, 3]), torch.Size([2, 3, 60]))
    """

    gates: Tensor
    """[B, K], descending, summing to 1."""
    indices: Tensor
    """[B, K] int64, the experts in use, in the order of their gates."""
    centers: Tensor
    """[B, K], float32 or wider, fraction of the clip's duration in [0, 1]."""
    stds: Tensor
    """[B, K], float32 or wider, fraction of the clip's duration, 0.01 to 0.111."""
    logits: Tensor
    """[B, E], the scores of all experts before the softmax."""
    weights: Tensor | None
    """[B, K, T], float32 or wider, 1 at the frame nearest to the center; None where they were not asked for."""
    shares: Tensor | None = None
    """[B, K, M], summing to 1 over the M Gaussians of an expert, where it has several: centers and stds are then
    [B, K, M], too, and `weights` holds the sum of the M windows, each times its share."""
