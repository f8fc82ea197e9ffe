"""The question decides which experts look, and when.

B batch (or B, Q: clips and their questions), T frames, D channels, E experts, K experts in use.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import _checks, _init
from ._order import descending
from ._state import VersionedModule
from .attention import Attention
from .backend import check_backend
from .functional import gaussian_weights
from .routing import Routing
from .timeline import emptied, padding_from_lengths

LEAST_WIDTH, WIDTHS = 0.09, 9
"""An expert's std as a fraction of the clip is `max(sigmoid(b), LEAST_WIDTH) / WIDTHS`."""


class QuestionRouter(VersionedModule):
    """Routes a clip by a question: gates over experts, and each expert's Gaussian over time.

    The question attends to the frames, c = attention(q, x). `softmax(W_r c + b_r)` gives the gates, of which the
    `top_k` largest are kept and renormalised (ties go to the lower index). Expert e owns the anchor (e + 1/2)/E;
    one linear layer gives its a and b, and

        center = clamp(anchor + tanh(a)/(2E), 0, 1)        std = max(sigmoid(b), 0.09)/9

    QA-TIGER (arXiv 2503.04459), section 3.3. Anchors follow from the number of experts and are not in the state
    dict: after `to_empty` call `reset_parameters` before loading one.

    Args:
        dim: D, channels of question and frames.
        num_experts: E.
        top_k: K, experts in use, at most `num_experts`.
        heads: attention heads; divides `dim`.
        dropout: rate on the attention weights.
        backend: "auto", "triton" or "torch".

    Raises:
        ValueError: a size below 1, `top_k` above `num_experts`, or `heads` that does not divide `dim`.

    Example:
        >>> import torch
        >>> from gaussian_moe import QuestionRouter
        >>> router = QuestionRouter(dim=16, num_experts=7, top_k=3, heads=4)
        >>> routing = router(torch.randn(2, 16), torch.randn(2, 60, 16))
        >>> routing.gates.shape, routing.centers.shape, routing.logits.shape
        (torch.Size([2, 3]), torch.Size([2, 3]), torch.Size([2, 7]))
    """

    slots: Tensor

    def __init__(
        self,
        dim: int,
        num_experts: int = 7,
        top_k: int = 7,
        heads: int = 8,
        dropout: float = 0.1,
        backend: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        _checks.positive(num_experts=num_experts, top_k=top_k)
        if top_k > num_experts:
            raise ValueError(f"top_k must be at most num_experts, got top_k={top_k} and num_experts={num_experts}")
        check_backend(backend)
        self.dim, self.num_experts, self.top_k, self.backend = dim, num_experts, top_k, backend
        self.attention = Attention(dim, heads, dropout, "torch" if backend == "torch" else "auto", device, dtype)
        self.gate = nn.Linear(dim, num_experts, device=device, dtype=dtype)
        self.gaussian = nn.Linear(dim, 2 * num_experts, device=device, dtype=dtype)
        # Expert e's anchor is (slots[e] + 1/2)/E. Whole numbers: `module.half()` would round stored anchors.
        slots = torch.empty(num_experts, device=device, dtype=torch.int64)
        self.register_buffer("slots", slots, persistent=False)
        self.reset_parameters()

    @property
    def anchors(self) -> Tensor:
        """[E] float64, the anchor of each expert's center, fraction of the clip."""
        return (self.slots.double() + 0.5) / self.num_experts

    def reset_parameters(self) -> None:
        """Kaiming-normal linear layers; the attention keeps PyTorch's own initialisation."""
        torch.arange(self.num_experts, device=self.slots.device, out=self.slots)
        self.attention.reset_parameters()
        self.gate.apply(_init.linear_)
        self.gaussian.apply(_init.linear_)

    def forward(
        self,
        question: Tensor,  # [B, D] or [B, Q, D]
        frames: Tensor,  # [B, T, D]
        *,
        key_padding_mask: Tensor | None = None,  # [B, T] bool
        lengths: Tensor | None = None,  # [B] int
        times: Tensor | None = None,  # [B, T] or [T]
        duration: Tensor | float | None = None,  # [B] or one number
        return_weights: bool = True,
    ) -> Routing:
        """Routes each clip.

        Args:
            question: [B, D], or [B, Q, D] for Q questions about each clip.
            frames: [B, T, D]. What padded frames hold does not matter.
            key_padding_mask: [B, T] bool, True = ignore.
            lengths: [B] integers, valid frames at the start of each clip; instead of the mask.
            times: [B, T] or [T], when each frame was taken, in any unit; evenly spaced where not given.
            duration: [B] or a number, each clip's length in the unit of `times`.
            return_weights: also the weights over time, [B, (Q,) K, T].

        Returns:
            The routing; its leading dimensions are the question's.

        Raises:
            ValueError: a wrong shape or dtype.
        """
        weight, clips = self.attention.in_proj_weight, frames.shape[0]
        _checks.channels("frames", frames, ["B", "T"], weight)
        _checks.channels("question", question, [clips, "Q"] if question.dim() == 3 else [clips], weight)
        padding = padding_from_lengths(frames, key_padding_mask, lengths)
        frames = emptied(frames, padding)
        queries = question if question.dim() == 3 else question.unsqueeze(1)
        context = self.attention(queries, frames, padding)
        if question.dim() == 2:
            context = context.squeeze(1)
        logits = self.gate(context)
        wide = torch.promote_types(logits.dtype, torch.float32)
        scores, indices = descending(logits.to(wide).softmax(-1))
        gates, indices = scores[..., : self.top_k], indices[..., : self.top_k]
        gates = gates / gates.sum(-1, keepdim=True)
        centers, stds = self._gaussians(context, indices)
        weights = None
        if return_weights:
            weights = gaussian_weights(
                centers,
                stds,
                frames,
                key_padding_mask=padding,
                times=times,
                duration=duration,
                backend=self.backend,
            )
        return Routing(gates, indices, centers, stds, logits, weights)

    def _gaussians(self, context: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
        raw = self.gaussian(context)
        raw = raw.to(torch.promote_types(raw.dtype, torch.float32)).unflatten(-1, (self.num_experts, 2))
        raw = raw.gather(-2, indices.unsqueeze(-1).expand(*indices.shape, 2))
        anchors = (self.slots[indices].to(raw.dtype) + 0.5) / self.num_experts
        centers = (anchors + raw[..., 0].tanh() / (2 * self.num_experts)).clamp(0.0, 1.0)
        stds = raw[..., 1].sigmoid().clamp(min=LEAST_WIDTH) / WIDTHS
        return centers, stds

    def extra_repr(self) -> str:
        return f"dim={self.dim}, num_experts={self.num_experts}, top_k={self.top_k}"
