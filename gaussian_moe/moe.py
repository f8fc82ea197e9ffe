"""Question-aware Gaussian mixture of experts over time: router, experts and norm in one layer.

B batch, Q questions of one clip, S streams, T frames, D channels, E experts, K experts in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

import torch
from torch import Tensor, nn

from . import _checks
from ._state import VersionedModule
from .clips import arranged
from .expert import GaussianExpert
from .router import MAX_STD, MIN_STD, QuestionRouter
from .routing import Routing, check_routing, without_weights
from .timeline import timing_arguments


class TemporalMoE(VersionedModule):
    """Pools a clip over time as a question asks: `LayerNorm(sum_k p_k sum_t g_kt f_e(k)(x_t))`.

    The question routes the clip to K of E experts; each expert looks through its own Gaussian over time. QA-TIGER
    (arXiv 2503.04459), section 3.3. No sample sees another of its batch. With streams, one routing is shared:
    stream s feeds `frames + stream_s` to the experts and has its own LayerNorm.

    Args:
        dim: D, channels of question, frames and result.
        num_experts: E.
        top_k: K, experts in use, at most `num_experts`.
        heads: heads of the question's attention to the frames; divides `dim`.
        hidden_dim: hidden channels of an expert, by default D/2.
        num_streams: S; 0 pools the frames themselves.
        dropout: rate on the attention weights, which in training also moves the centers a little.
        released_expert_order: the published code takes, for frame t of sample b in a batch of B, the experts of
            sample (b T + t) mod B, so that answers depend on the batch. True reproduces that, to evaluate weights
            released with it as they were trained (torch path, no padding, one question a clip).
        backend: "auto", "triton" or "torch"; "auto" follows the environment variable GAUSSIAN_MOE_BACKEND.
        temperature: divides the router's logits; below 1 gates are sharper.
        noise: in training, standard deviation of normal noise on the logits.
        expert_dropout: in training, probability that an expert cannot be chosen for a clip.
        window: "gaussian", "laplace" or "box", the form of the weights over time.
        normalization: "peak", "sum" or "none", of the weights.
        num_gaussians: M, windows of each expert, of which it sees the sum.
        learned_anchors: anchors are a parameter, initialised to the fixed ones.
        min_std: smallest std of an expert, a fraction of the clip.
        max_std: largest std of an expert, a fraction of the clip.
        activation: "relu", "gelu" or "silu", of the experts' hidden layer. More on each of these: `QuestionRouter`.

    Raises:
        ValueError: a size below 1, `top_k` above `num_experts`, `heads` that does not divide `dim`, an unknown name,
            a number outside its range, or `backend="triton"` with what has no kernel.

    Examples:
        >>> import torch
        >>> from gaussian_moe import TemporalMoE
        >>> moe = TemporalMoE(dim=512, num_experts=7, top_k=3)
        >>> pooled, routing = moe(torch.randn(2, 512), torch.randn(2, 60, 512), return_routing=True)
        >>> pooled.shape, routing.weights.shape
        (torch.Size([2, 512]), torch.Size([2, 3, 60]))
    """

    def __init__(
        self,
        dim: int,
        num_experts: int = 7,
        top_k: int = 7,
        heads: int = 8,
        hidden_dim: int | None = None,
        num_streams: int = 0,
        dropout: float = 0.1,
        released_expert_order: bool = False,
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
        activation: str = "relu",
    ) -> None:
        super().__init__()
        if num_streams < 0:
            raise ValueError(f"num_streams must be at least 0, got {num_streams}")
        self.dim, self.num_streams, self.released_expert_order = dim, num_streams, released_expert_order
        self.router = QuestionRouter(
            dim,
            num_experts,
            top_k,
            heads,
            dropout,
            backend=backend,
            device=device,
            dtype=dtype,
            temperature=temperature,
            noise=noise,
            expert_dropout=expert_dropout,
            window=window,
            normalization=normalization,
            num_gaussians=num_gaussians,
            learned_anchors=learned_anchors,
            min_std=min_std,
            max_std=max_std,
        )
        self.experts = GaussianExpert(
            dim,
            hidden_dim,
            num_experts,
            released_expert_order,
            backend=backend,
            device=device,
            dtype=dtype,
            window=window,
            normalization=normalization,
            activation=activation,
        )
        norms = (nn.LayerNorm(dim, device=device, dtype=dtype) for _ in range(max(num_streams, 1)))
        self.norms = nn.ModuleList(norms)

    def reset_parameters(self) -> None:
        """As at construction: Kaiming-normal linear layers, PyTorch's attention, LayerNorms at 1 and 0."""
        self.router.reset_parameters()
        self.experts.reset_parameters()
        for norm in self.norms:
            assert isinstance(norm, nn.LayerNorm)
            norm.reset_parameters()

    @overload
    def forward(
        self,
        question: Tensor,
        frames: Tensor,
        *,
        streams: Tensor | Sequence[Tensor] | None = ...,
        key_padding_mask: Tensor | None = ...,
        lengths: Tensor | None = ...,
        times: Tensor | None = ...,
        duration: Tensor | float | None = ...,
        cu_seqlens: Tensor | None = ...,
        max_seqlen: int | None = ...,
        routing: Routing | None = ...,
        per_expert: bool = ...,
        return_routing: Literal[False] = ...,
    ) -> Tensor: ...

    @overload
    def forward(
        self,
        question: Tensor,
        frames: Tensor,
        *,
        streams: Tensor | Sequence[Tensor] | None = ...,
        key_padding_mask: Tensor | None = ...,
        lengths: Tensor | None = ...,
        times: Tensor | None = ...,
        duration: Tensor | float | None = ...,
        cu_seqlens: Tensor | None = ...,
        max_seqlen: int | None = ...,
        routing: Routing | None = ...,
        per_expert: bool = ...,
        return_routing: Literal[True],
    ) -> tuple[Tensor, Routing]: ...

    def forward(
        self,
        question: Tensor,  # [B, D] or [B, Q, D]
        frames: Tensor,  # [B, T, D]
        *,
        streams: Tensor | Sequence[Tensor] | None = None,  # [B, S, T, D], or S times [B, T, D]
        key_padding_mask: Tensor | None = None,  # [B, T] bool
        lengths: Tensor | None = None,  # [B] int
        times: Tensor | None = None,  # [B, T] or [T]
        duration: Tensor | float | None = None,  # [B] or one number
        cu_seqlens: Tensor | None = None,  # [B + 1] int
        max_seqlen: int | None = None,
        routing: Routing | None = None,
        per_expert: bool = False,
        return_routing: bool = False,
    ) -> Tensor | tuple[Tensor, Routing]:
        """Pools each clip for its question.

        Args:
            question: [B, D], or [B, Q, D] for Q questions about each clip.
            frames: [B, T, D]. What padded frames hold does not matter. In the place of B may stand any leading
                dimensions, none too, which everything else here then has as well. Clips of different lengths may
                also come packed, [N, D] one behind the other with `cu_seqlens`, or nested with layout
                `torch.jagged`; they are padded to the longest.
            streams: [B, S, T, D], or a sequence of S tensors [B, T, D], each added to the frames for its own
                result; wanted exactly where the layer has `num_streams`. With packed frames [S, N, D], or S
                tensors [N, D].
            key_padding_mask: [B, T] bool, True = ignore.
            lengths: [B] integers, valid frames at the start of each clip; instead of the mask.
            times: [B, T] or [T], when each frame was taken, in any unit; evenly spaced where not given. With packed
                frames [N].
            duration: [B] or a number, each clip's length in the unit of `times`.
            cu_seqlens: [B + 1] int32 or int64, where each packed clip starts: 0 first, N last.
            max_seqlen: number of frames of the longest packed clip; wanted with `cu_seqlens`.
            routing: use this instead of routing by the question; `times` and `duration` then matter only where
                its weights are None.
            per_expert: each expert's own sum over time, before gates and LayerNorm: the result for models that want K
                vectors. What `routing.gates` mix of them, LayerNorm makes the usual result.
            return_routing: also return the `Routing`, with its weights over time.

        Returns:
            [B, D], [B, S, D] with streams, [B, Q, D] with a question axis, [B, Q, S, D] with both; with `per_expert`
            an axis K stands behind B and Q; with `return_routing` a pair of that and the routing. A clip with no
            valid frame gives the LayerNorm of 0, with `per_expert` 0.

        Raises:
            ValueError: a wrong shape or dtype, streams that do not match the layer, or padding or a question axis
                together with `released_expert_order`.
        """
        clips = arranged(
            question,
            frames,
            streams,
            self.experts.weight1,
            self.num_streams,
            key_padding_mask=key_padding_mask,
            lengths=lengths,
            times=times,
            duration=duration,
            cu_seqlens=cu_seqlens,
            max_seqlen=max_seqlen,
        )
        question, timing = clips.question, clips.timing
        padded = timing.key_padding_mask is not None or timing.lengths is not None
        if self.released_expert_order and (question.dim() == 3 or padded or per_expert):
            raise ValueError(
                "released_expert_order is defined for the mixture of one question a clip, without padding; build the "
                "layer with released_expert_order=False for key_padding_mask, lengths, per_expert or [B, Q, D]"
            )
        source = clips.frames if clips.streams is None else clips.frames.unsqueeze(1) + clips.streams
        if routing is None:
            found = self.router(question, clips.frames, **timing_arguments(timing), return_weights=return_routing)
            # The weights are for whoever asked: the experts take theirs from centers and stds and need not store them.
            profile, routing = without_weights(found), clips.restored_routing(found)
        else:
            check_routing(routing)
            profile = clips.flattened_routing(routing)
            _checks.shape("routing.gates", profile.gates, [*question.shape[:-1], "K"])
        pooled = self.experts(source, profile, **timing_arguments(timing), per_expert=per_expert)
        if per_expert:
            result = pooled
        elif not self.num_streams:
            result = self.norms[0](pooled)
        else:
            parts = zip(self.norms, pooled.unbind(-2), strict=True)
            result = torch.stack([norm(part) for norm, part in parts], dim=-2)
        result = clips.restored(result)
        return (result, routing) if return_routing else result

    def extra_repr(self) -> str:
        return f"dim={self.dim}, num_streams={self.num_streams}"
