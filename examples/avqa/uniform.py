"""The ablation that weights every frame alike: the same router and experts, without the Gaussians.

B batch, T frames, K experts in use.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gaussian_moe import Routing, TemporalMoE


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
        # A frame within reach of no Gaussian has weight 0 too; only padding may keep it.
        weights = torch.ones_like(routing.weights)
        mask, lengths = kwargs.get("key_padding_mask"), kwargs.get("lengths")
        if lengths is not None:
            mask = torch.arange(frames.shape[1], device=frames.device) >= lengths.unsqueeze(-1)
        if mask is not None:
            padding = mask.view(mask.shape[0], *[1] * (weights.dim() - 2), mask.shape[1])
            weights = weights.masked_fill(padding, 0.0)
        return super().forward(question, frames, routing=routing._replace(weights=weights), **kwargs)
