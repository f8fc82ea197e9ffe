"""What a batch's routing looks like, in a few numbers: small enough to log at every step.

B batch (or B, Q: clips and their questions), T frames, E experts, K experts in use, M Gaussians of one expert.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ._counted import by_expert, counted, mean, wide_logits
from .routing import Routing


class RoutingStatistics(NamedTuple):
    """Means over the questions of a batch that count, detached, on the routing's device; all 0 where none counts.

    Experts are numbered as in `Routing.indices`.

    Examples:
        >>> import torch
        >>> from gaussian_moe import QuestionRouter, routing_statistics
        >>> router = QuestionRouter(dim=16, num_experts=7, top_k=3, heads=4)
        >>> statistics = routing_statistics(router(torch.randn(2, 16), torch.randn(2, 60, 16)))
        >>> list(statistics.as_dict("router/"))[:3]
        ['router/entropy', 'router/gate_entropy', 'router/load/0']
    """

    load: Tensor
    """[E], share of the K slots of all questions that the expert has; sums to 1."""
    importance: Tensor
    """[E], mean gate of the expert, 0 where it is not in use; sums to 1."""
    entropy: Tensor
    """Mean entropy of softmax(logits), in nats: ln E for a router that does not choose, 0 for one that is sure."""
    gate_entropy: Tensor
    """Mean entropy of the gates, in nats, at most ln K."""
    center: Tensor
    """[E], mean center where the expert is in use, fraction of the clip."""
    std: Tensor
    """[E], mean std where the expert is in use, fraction of the clip; 0 tells that it never was."""
    questions: Tensor
    """How many questions counted: the weight of these means among those of other batches."""

    def as_dict(self, prefix: str = "routing/") -> dict[str, Tensor]:
        """Every statistic but `questions` as a tensor without dimensions under a name for a logger.

        Nothing waits for the device here; a logger does, when it makes a number of one.

        Args:
            prefix: what the names start with.

        Returns:
            {prefix}entropy, {prefix}gate_entropy, and for each expert e {prefix}load/e, {prefix}importance/e,
            {prefix}center/e, {prefix}std/e.
        """
        scalars = {f"{prefix}entropy": self.entropy, f"{prefix}gate_entropy": self.gate_entropy}
        for name in ("load", "importance", "center", "std"):
            values: Tensor = getattr(self, name)
            scalars |= {f"{prefix}{name}/{expert}": value for expert, value in enumerate(values.unbind())}
        return scalars


def routing_statistics(
    routing: Routing,
    *,
    question_padding_mask: Tensor | None = None,  # [B] or [B, Q] bool
    key_padding_mask: Tensor | None = None,  # [B, T] bool
    lengths: Tensor | None = None,  # [B] int
) -> RoutingStatistics:
    """Load, importance, entropy and places of the experts, over the questions that count.

    Load and importance are those of Shazeer et al. (ICLR 2017, arXiv 1701.06538), section 4, as shares. Padded
    questions and questions about a clip with no frames do not count. Nothing here waits for the device.

    Args:
        routing: what a layer returned; [B, K] or [B, Q, K].
        question_padding_mask: bool in the shape of the questions, True = ignore.
        key_padding_mask: [B, T] bool, as the layer was given; only clips without any frame matter.
        lengths: [B] integers, instead of that mask.

    Returns:
        The statistics. With M Gaussians an expert's center and std are those of the mixture.

    Raises:
        ValueError: a wrong shape or dtype.

    Examples:
        >>> import torch
        >>> from gaussian_moe import Routing, routing_statistics
        >>> gates, indices = torch.tensor([[0.75, 0.25], [0.5, 0.5]]), torch.tensor([[0, 2], [2, 1]])
        >>> centers = torch.tensor([[0.2, 0.8], [0.6, 0.5]])
        >>> routing = Routing(gates, indices, centers, torch.full((2, 2), 0.1), torch.zeros(2, 3), None)
        >>> statistics = routing_statistics(routing)
        >>> statistics.load, statistics.importance
        (tensor([0.2500, 0.2500, 0.5000]), tensor([0.3750, 0.2500, 0.3750]))
    """
    with torch.no_grad():
        counts = counted(routing, question_padding_mask, key_padding_mask, lengths)
        logits = wide_logits(routing, counts)
        gates = routing.gates.to(torch.promote_types(routing.gates.dtype, torch.float32))
        gates = gates.masked_fill(~counts.unsqueeze(-1), 0.0)
        used = mean(by_expert(routing, torch.ones_like(gates)), counts)
        centers, stds = _moments(routing)
        centers, stds = (
            mean(by_expert(routing, values), counts) / used.masked_fill(used == 0, 1.0) for values in (centers, stds)
        )
        return RoutingStatistics(
            load=used / max(routing.indices.shape[-1], 1),
            importance=mean(by_expert(routing, gates), counts),
            entropy=mean(torch.special.entr(logits.softmax(-1)).sum(-1), counts),
            gate_entropy=mean(torch.special.entr(gates).sum(-1), counts),
            center=centers,
            std=stds,
            questions=counts.sum(),
        )


def _moments(routing: Routing) -> tuple[Tensor, Tensor]:
    """Center and std of each expert in use, [..., K]; of M Gaussians, those of their mixture."""
    if routing.shares is None:
        return routing.centers, routing.stds
    center = (routing.shares * routing.centers).sum(-1)
    spread = routing.stds.square() + (routing.centers - center.unsqueeze(-1)).square()
    return center, (routing.shares * spread).sum(-1).sqrt()
