"""The ablation that weights every frame alike: the same router and experts, without the Gaussians.

B batch, T frames, K experts in use.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gaussian_moe import Routing, TemporalMoE
from gaussian_moe.timeline import padding_from_lengths


class UniformMoE(TemporalMoE):
    """`TemporalMoE` whose weights over time are 1 at every valid frame.

    The state dict is that of `TemporalMoE`; the Gaussians' linear layer is kept so, but has no part in the result
    and gets no gradient.
    """

    def forward(self, question: Tensor, frames: Tensor, *, routing: Routing | None = None, **kwargs: Any) -> Any:
        """As `TemporalMoE.forward`, with uniform weights put in the place of the routing's."""
        if routing is None:
            timing = {name: kwargs.get(name) for name in ("key_padding_mask", "lengths", "times", "duration")}
            routing = self.router(question, frames, **timing)
        assert routing.weights is not None
        weights = torch.ones_like(routing.weights)
        padding = padding_from_lengths(frames, kwargs.get("key_padding_mask"), kwargs.get("lengths"))
        if padding is not None:
            weights = weights.masked_fill(padding.view(len(padding), *[1] * (weights.dim() - 2), padding.shape[1]), 0.0)
        return super().forward(question, frames, routing=routing._replace(weights=weights), **kwargs)
