"""The published computation with its indexing mended: every expert on every frame, both linear layers, then gather.

B batch, T frames, D channels, E experts, K experts in use.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaussian_moe import TemporalMoE


class PublishedMoE(nn.Module):
    """The result of a `TemporalMoE`, computed as published, with the layer's own parameters."""

    def __init__(self, layer: TemporalMoE) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, question: Tensor, frames: Tensor) -> Tensor:
        """Question [B, D] and frames [B, T, D] to [B, D]."""
        router, experts = self.layer.router, self.layer.experts
        attention, T = router.attention, frames.shape[1]
        context = F.multi_head_attention_forward(
            question.unsqueeze(0),
            frames.transpose(0, 1),
            frames.transpose(0, 1),
            attention.dim,
            attention.heads,
            attention.in_proj_weight,
            attention.in_proj_bias,
            None,
            None,
            False,
            attention.dropout,
            attention.out_proj.weight,
            attention.out_proj.bias,
            training=self.training,
        )[0].squeeze(0)
        # Routing and Gaussians in float32 or wider, as the layer's: in half precision a center is off by frames.
        logits, raw = router.gate(context), router.gaussian(context)
        wide = torch.promote_types(raw.dtype, torch.float32)
        gates, indices = logits.to(wide).softmax(-1).topk(router.top_k)
        gates = gates / gates.sum(-1, keepdim=True)
        raw = raw.to(wide).unflatten(-1, (router.num_experts, 2))
        centers = (router.anchors.to(wide) + raw[..., 0].tanh() / (2 * router.num_experts)).clamp(0, 1)
        stds = raw[..., 1].sigmoid().clamp(min=0.09) / 9
        times = torch.linspace(0, 1, T, device=frames.device, dtype=wide)
        density = torch.exp(-((times - centers.unsqueeze(-1)) ** 2) / (2 * stds.unsqueeze(-1) ** 2))
        # By index: compiled, amax compares with what it computes again, finds no equal, and its gradient is 0/0.
        weights = density / density.max(-1, keepdim=True).values
        hidden = torch.relu(torch.einsum("btd,ehd->bteh", frames, experts.weight1) + experts.bias1)
        outputs = torch.einsum("bteh,edh->bted", hidden, experts.weight2) + experts.bias2
        chosen = outputs.gather(2, indices[:, None, :, None].expand(-1, T, -1, outputs.shape[-1]))
        timed = (gates.unsqueeze(-1) * weights.gather(1, indices.unsqueeze(-1).expand(-1, -1, T))).to(chosen.dtype)
        pooled = torch.einsum("bkt,btkd->bd", timed, chosen)
        normed: Tensor = self.layer.norms[0](pooled)
        return normed
