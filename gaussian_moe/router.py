"""The question decides which experts look, and when.

B batch (or B, Q: clips and their questions), T frames, D channels, E experts, K experts in use, M windows of one
expert.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from . import _checks, _init
from ._order import descending
from ._shown import options
from ._state import VersionedModule
from .attention import Attention
from .backend import check_backend
from .clips import arranged
from .functional import gaussian_weights
from .functional.weights import check_window, unfused_window
from .routing import Routing
from .timeline import emptied, padding_from_lengths, timing_arguments

MIN_STD, MAX_STD = 0.01, 1 / 9
"""The published range of an expert's std, fractions of the clip."""
_DEFAULTS: dict[str, object] = {
    "temperature": 1.0,
    "noise": 0.0,
    "expert_dropout": 0.0,
    "window": "gaussian",
    "normalization": "peak",
    "num_gaussians": 1,
    "min_std": MIN_STD,
    "max_std": MAX_STD,
}


class QuestionRouter(VersionedModule):
    """Routes a clip by a question: gates over experts, and each expert's Gaussian over time.

    The question attends to the frames, c = attention(q, x). `softmax(W_r c + b_r)` gives the gates, of which the
    `top_k` largest are kept and renormalised (ties go to the lower index). Expert e owns the anchor (e + 1/2)/E;
    one linear layer gives its a and b, and

        center = clamp(anchor + tanh(a)/(2E), 0, 1)        std = max(sigmoid(b) max_std, min_std)

    QA-TIGER (arXiv 2503.04459), section 3.3. Anchors follow from the number of experts and are not in the state
    dict: after `to_empty` call `reset_parameters` before loading one. Noise, temperature and expert dropout are off
    by default; the routing's `logits` are those before all three.

    To the attention the frames are a set, as published: where centers shall follow what happens in the clip, give
    frames a position code, or features that have seen their neighbours.

    Args:
        dim: D, channels of question and frames.
        num_experts: E.
        top_k: K, experts in use, at most `num_experts`.
        heads: attention heads; divides `dim`.
        dropout: rate on the attention weights, which in training also moves the centers a little.
        backend: "auto", "triton" or "torch".
        temperature: the softmax is over `logits / temperature`: below 1 sharper gates, above 1 more even ones
            (annealed from even to sharp in EvoMoE, arXiv 2112.14397).
        noise: in training, standard deviation of normal noise on the logits (Shazeer et al., arXiv 1701.06538,
            section 2.1; constant, 1/E, in V-MoE, arXiv 2106.05974).
        expert_dropout: in training, probability that an expert cannot be chosen for a clip; the others' gates are
            renormalised, and where all would drop out none does (Zhao et al., Recommending What Video to Watch
            Next, RecSys 2019).
        window: the form of the weights over time; see `functional.gaussian_weights`.
        normalization: of the weights; see `functional.gaussian_weights`.
        num_gaussians: M, windows of each expert, of which it sees the sum; their anchors divide the expert's part
            of the clip evenly, and the same linear layer also gives their shares.
        learned_anchors: anchors are a parameter, initialised to the fixed ones.
        min_std: smallest std of an expert, a fraction of the clip.
        max_std: largest std of an expert, a fraction of the clip.

    Raises:
        ValueError: a size below 1, `top_k` above `num_experts`, `heads` that does not divide `dim`, an unknown name,
            or a number outside its range.

    Examples:
        >>> import torch
        >>> from gaussian_moe import QuestionRouter
        >>> router = QuestionRouter(dim=16, num_experts=7, top_k=3, heads=4)
        >>> routing = router(torch.randn(2, 16), torch.randn(2, 60, 16))
        >>> routing.gates.shape, routing.centers.shape, routing.logits.shape
        (torch.Size([2, 3]), torch.Size([2, 3]), torch.Size([2, 7]))
    """

    slots: Tensor
    anchor: nn.Parameter | None

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
        *,
        temperature: float = 1.0,
        noise: float = 0.0,
        expert_dropout: float = 0.0,
        window: str = "gaussian",
        normalization: str = "peak",
        num_gaussians: int = 1,
        learned_anchors: bool = False,
        min_std: float = MIN_STD,
        max_std: float = MAX_STD,
    ) -> None:
        super().__init__()
        _checks.positive(num_experts=num_experts, top_k=top_k, num_gaussians=num_gaussians)
        if top_k > num_experts:
            raise ValueError(f"top_k must be at most num_experts, got top_k={top_k} and num_experts={num_experts}")
        check_backend(backend)
        check_window(window, normalization)
        if backend == "triton" and (obstacle := unfused_window(window, normalization)):
            raise ValueError(f"backend='triton': {obstacle}; use 'auto' or 'torch'")
        _checks.above_zero(temperature=temperature, min_std=min_std, max_std=max_std)
        _checks.probability(expert_dropout=expert_dropout)
        if not 0.0 <= noise < math.inf:
            raise ValueError(f"noise must be a standard deviation of at least 0, got {noise}")
        if min_std > max_std:
            raise ValueError(f"min_std must be at most max_std, got min_std={min_std} and max_std={max_std}")
        self.dim, self.num_experts, self.top_k, self.backend = dim, num_experts, top_k, backend
        self.temperature, self.noise, self.expert_dropout = temperature, noise, expert_dropout
        self.window, self.normalization, self.num_gaussians = window, normalization, num_gaussians
        self.min_std, self.max_std = min_std, max_std
        self.attention = Attention(dim, heads, dropout, "torch" if backend == "torch" else "auto", device, dtype)
        self.gate = nn.Linear(dim, num_experts, device=device, dtype=dtype)
        # Of each window a and b; where an expert has several, also what it counts among them.
        numbers = 2 if num_gaussians == 1 else 3
        self.gaussian = nn.Linear(dim, num_experts * num_gaussians * numbers, device=device, dtype=dtype)
        # Expert e's part of the clip begins at slots[e]/E. Whole numbers: `module.half()` would round stored anchors.
        slots = torch.empty(num_experts, device=device, dtype=torch.int64)
        self.register_buffer("slots", slots, persistent=False)
        anchor = torch.empty(num_experts, num_gaussians, device=device, dtype=dtype) if learned_anchors else None
        self.register_parameter("anchor", None if anchor is None else nn.Parameter(anchor))
        self.reset_parameters()

    @property
    def anchors(self) -> Tensor:
        """[E], or [E, M] with several windows, float64 on the CPU: centers whose `a` is 0."""
        if self.anchor is None:
            anchors = self._evenly(self.slots.cpu(), torch.float64)
        else:
            anchors = self.anchor.detach().cpu().double()
        return anchors.squeeze(-1) if self.num_gaussians == 1 else anchors

    def reset_parameters(self) -> None:
        """Kaiming-normal linear layers; the attention keeps PyTorch's own initialisation."""
        torch.arange(self.num_experts, device=self.slots.device, out=self.slots)
        self.attention.reset_parameters()
        self.gate.apply(_init.linear_)
        self.gaussian.apply(_init.linear_)
        if self.anchor is not None:
            with torch.no_grad():
                self.anchor.copy_(self._evenly(self.slots, torch.promote_types(self.anchor.dtype, torch.float32)))

    def forward(
        self,
        question: Tensor,  # [B, D] or [B, Q, D]
        frames: Tensor,  # [B, T, D]
        *,
        key_padding_mask: Tensor | None = None,  # [B, T] bool
        lengths: Tensor | None = None,  # [B] int
        times: Tensor | None = None,  # [B, T] or [T]
        duration: Tensor | float | None = None,  # [B] or one number
        cu_seqlens: Tensor | None = None,  # [B + 1] int
        max_seqlen: int | None = None,
        return_weights: bool = True,
    ) -> Routing:
        """Routes each clip.

        Args:
            question: [B, D], or [B, Q, D] for Q questions about each clip.
            frames: [B, T, D]; or any leading dimensions in the place of B, packed with `cu_seqlens`, or nested: see
                `TemporalMoE.forward`. What padded frames hold does not matter.
            key_padding_mask: [B, T] bool, True = ignore.
            lengths: [B] integers, valid frames at the start of each clip; instead of the mask.
            times: [B, T] or [T], when each frame was taken, in any unit; evenly spaced where not given.
            duration: [B] or a number, each clip's length in the unit of `times`.
            cu_seqlens: [B + 1] integers, where packed clips start and the last one ends.
            max_seqlen: the longest packed clip's number of frames.
            return_weights: also the weights over time, [B, (Q,) K, T].

        Returns:
            The routing; its leading dimensions are the question's.

        Raises:
            ValueError: a wrong shape or dtype.
        """
        clips = arranged(
            question,
            frames,
            None,
            self.attention.in_proj_weight,
            key_padding_mask=key_padding_mask,
            lengths=lengths,
            times=times,
            duration=duration,
            cu_seqlens=cu_seqlens,
            max_seqlen=max_seqlen,
        )
        question, frames, timing = clips.question, clips.frames, clips.timing
        padding = padding_from_lengths(frames, timing.key_padding_mask, timing.lengths)
        frames = emptied(frames, padding)
        queries = question if question.dim() == 3 else question.unsqueeze(1)
        context = self.attention(queries, frames, padding)
        if question.dim() == 2:
            context = context.squeeze(1)
        logits = self.gate(context)
        scores = self._scores(logits)
        # By the logits: where their softmax is 0 for several experts, it no longer tells which of them comes first.
        indices = descending(scores)[1][..., : self.top_k]
        gates = scores.softmax(-1).gather(-1, indices)
        gates = gates / gates.sum(-1, keepdim=True)
        centers, stds, shares = self._windows(context, indices)
        weights = None
        if return_weights:
            weights = gaussian_weights(
                centers,
                stds,
                frames,
                shares=shares,
                **timing_arguments(timing),
                window=self.window,
                normalization=self.normalization,
                backend=self.backend,
            )
        return clips.restored_routing(Routing(gates, indices, centers, stds, logits, weights, shares))

    def _scores(self, logits: Tensor) -> Tensor:
        """What the softmax is taken of [..., E], float32 or wider."""
        scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if self.training and self.noise:
            scores = scores + self.noise * torch.randn_like(scores)
        if self.training and self.expert_dropout:
            dropped = torch.rand_like(scores) < self.expert_dropout
            scores = scores.masked_fill(dropped & ~dropped.all(-1, keepdim=True), -torch.inf)
        return scores / self.temperature

    def _windows(self, context: Tensor, indices: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Centers and stds, and shares where an expert has several windows."""
        E, M = self.num_experts, self.num_gaussians
        raw = self.gaussian(context)
        raw = raw.to(torch.promote_types(raw.dtype, torch.float32)).unflatten(-1, (E, M, -1))
        raw = raw.gather(-3, indices[..., None, None].expand(*indices.shape, *raw.shape[-2:]))
        centers = (self._anchors(indices, raw.dtype) + raw[..., 0].tanh() / (2 * E)).clamp(0.0, 1.0)
        stds = raw[..., 1].sigmoid().clamp(min=self.min_std / self.max_std) * self.max_std
        if M == 1:
            return centers.squeeze(-1), stds.squeeze(-1), None
        return centers, stds, raw[..., 2].softmax(-1)

    def _anchors(self, indices: Tensor, dtype: torch.dtype) -> Tensor:
        """[..., K] to [..., K, M]"""
        if self.anchor is not None:
            return self.anchor[indices].to(dtype)
        return self._evenly(self.slots[indices], dtype)

    def _evenly(self, slots: Tensor, dtype: torch.dtype) -> Tensor:
        """Each slot's part of the clip divided evenly among M windows, [...] to [..., M]."""
        M = self.num_gaussians
        within = (torch.arange(M, dtype=dtype, device=slots.device) + 0.5) / M
        return (slots.to(dtype).unsqueeze(-1) + within) / self.num_experts

    def extra_repr(self) -> str:
        shown = f"dim={self.dim}, num_experts={self.num_experts}, top_k={self.top_k}"
        return shown + options(self, _DEFAULTS)
