"""What a router decides, as one value."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Routing(NamedTuple):
    """The experts in use for each clip, and when each of them looks.

    B stands for the leading dimensions of the question ([B], or [B, Q] for Q questions about one clip); E experts,
    K experts in use, T frames. Fields are read by name; new ones are only ever added at the end.

    Examples:
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
    """[B, K], or [B, K, M] where experts have M windows; float32 or wider, fraction of the clip in [0, 1]."""
    stds: Tensor
    """Shape of `centers`, float32 or wider, fraction of the clip's duration, by default 0.01 to 0.111."""
    logits: Tensor
    """[B, E], the scores of all experts before noise, temperature and softmax."""
    weights: Tensor | None
    """[B, K, T], float32 or wider, by default 1 at the frame nearest to the center; None where not asked for."""
    shares: Tensor | None = None
    """[B, K, M], summing to 1, what each of an expert's M windows counts; None where it has one."""


def check_routing(routing: object) -> None:
    """Raises ValueError for what is no routing."""
    if isinstance(routing, Routing):
        return
    hint = ""
    if isinstance(routing, tuple) and len(routing) == 2 and isinstance(routing[1], Routing):
        hint = "; give the second of the pair that return_routing=True makes"
    raise ValueError(f"routing must be a Routing, got {type(routing).__name__}{hint}")


def without_weights(routing: Routing) -> Routing:
    """The routing, its weights over time left out. Field by field: PyTorch 2.7's compiler cannot trace `_replace`."""
    gates, indices, centers, stds, logits, _, shares = routing
    return Routing(gates, indices, centers, stds, logits, None, shares)
