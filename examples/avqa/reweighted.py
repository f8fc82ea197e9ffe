"""Mixtures that weight the frames otherwise than by Gaussians: the ablations of QA-TIGER's "when".

B batch (or B, Q: clips and their questions), T frames, D channels, K experts in use.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from gaussian_moe import Routing, TemporalMoE
from gaussian_moe.timeline import padding_from_lengths

from .top_frames import attention_weights, top_frames


class ReweightedMoE(TemporalMoE, ABC):
    """`TemporalMoE` whose weights over time come from `weigh` instead of the Gaussians.

    The state dict is that of `TemporalMoE`; the Gaussians' linear layer is kept so, but has no part in the result
    and is not trained.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Distributed training waits for the gradient of every trained parameter.
        self.router.gaussian.requires_grad_(False)

    @abstractmethod
    def weigh(
        self,
        question: Tensor,  # [B, D] or [B, Q, D]
        frames: Tensor,  # [B, T, D]
        padding: Tensor | None,  # [B, T] bool
        like: Tensor,  # [B, (Q,) K, T]
    ) -> Tensor:  # [B, (Q,) K, T]
        """The weights of all frames, in the shape and dtype of `like`; those of padded frames do not matter."""

    def forward(self, question: Tensor, frames: Tensor, *, routing: Routing | None = None, **kwargs: Any) -> Any:
        """As `TemporalMoE.forward`, with other weights put in the place of the routing's."""
        if routing is None:
            timing = {name: kwargs.get(name) for name in ("key_padding_mask", "lengths", "times", "duration")}
            routing = self.router(question, frames, **timing)
        assert routing.weights is not None
        padding = padding_from_lengths(frames, kwargs.get("key_padding_mask"), kwargs.get("lengths"))
        weights = self.weigh(question, frames, padding, routing.weights)
        if padding is not None:
            weights = weights.masked_fill(padding.view(len(padding), *[1] * (weights.dim() - 2), padding.shape[1]), 0.0)
        return super().forward(question, frames, routing=routing._replace(weights=weights), **kwargs)


class UniformMoE(ReweightedMoE):
    """Every valid frame weighs 1."""

    def weigh(self, question: Tensor, frames: Tensor, padding: Tensor | None, like: Tensor) -> Tensor:
        return torch.ones_like(like)


class TopFramesMoE(ReweightedMoE):
    """The frames that the router's question attends to most weigh 1, the others 0, as TSPM selects its frames.

    Args:
        count: frames that are kept of each clip.
        args: as of `TemporalMoE`.
        kwargs: as of `TemporalMoE`.

    Raises:
        ValueError: `count` is below 1, or as `TemporalMoE`.
    """

    def __init__(self, *args: Any, count: int = 10, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        self.count = count

    def weigh(self, question: Tensor, frames: Tensor, padding: Tensor | None, like: Tensor) -> Tensor:
        queries = question if question.dim() == 3 else question.unsqueeze(1)
        attention = attention_weights(self.router.attention, queries, frames, padding)
        numbers, _ = top_frames(attention, self.count, padding)
        kept = torch.zeros_like(attention, dtype=like.dtype).scatter(-1, numbers, 1.0)
        if question.dim() == 2:
            kept = kept.squeeze(1)
        return kept.unsqueeze(-2).expand_as(like)
