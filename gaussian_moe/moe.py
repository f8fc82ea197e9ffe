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
from .expert import GaussianExpert
from .router import QuestionRouter
from .routing import Routing


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
        dropout: rate on the attention weights.
        released_expert_order: the published code takes, for frame t of sample b in a batch of B, the experts of
            sample (b T + t) mod B, so that answers depend on the batch. True reproduces that, to evaluate weights
            released with it as they were trained (torch path, no padding, one question a clip).
        backend: "auto", "triton" or "torch"; "auto" follows the environment variable GAUSSIAN_MOE_BACKEND.

    Raises:
        ValueError: a size below 1, `top_k` above `num_experts`, `heads` that does not divide `dim`.

    Example:
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
    ) -> None:
        super().__init__()
        if num_streams < 0:
            raise ValueError(f"num_streams must be at least 0, got {num_streams}")
        self.dim, self.num_streams, self.released_expert_order = dim, num_streams, released_expert_order
        self.router = QuestionRouter(
            dim, num_experts, top_k, heads, dropout, backend=backend, device=device, dtype=dtype
        )
        self.experts = GaussianExpert(
            dim, hidden_dim, num_experts, released_expert_order, backend=backend, device=device, dtype=dtype
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
        routing: Routing | None = ...,
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
        routing: Routing | None = ...,
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
        routing: Routing | None = None,
        return_routing: bool = False,
    ) -> Tensor | tuple[Tensor, Routing]:
        """Pools each clip for its question.

        Args:
            question: [B, D], or [B, Q, D] for Q questions about each clip.
            frames: [B, T, D]. What padded frames hold does not matter.
            streams: [B, S, T, D], or a sequence of S tensors [B, T, D], each added to the frames for its own
                result; wanted exactly where the layer has `num_streams`.
            key_padding_mask: [B, T] bool, True = ignore.
            lengths: [B] integers, valid frames at the start of each clip; instead of the mask.
            times: [B, T] or [T], when each frame was taken, in any unit; evenly spaced where not given.
            duration: [B] or a number, each clip's length in the unit of `times`.
            routing: use this instead of routing by the question; `times` and `duration` then matter only where
                its weights are None.
            return_routing: also return the `Routing`, with its weights over time.

        Returns:
            [B, D], [B, S, D] with streams, [B, Q, D] with a question axis, [B, Q, S, D] with both; with
            `return_routing` a pair of that and the routing. A clip with no valid frame gives the LayerNorm of 0.

        Raises:
            ValueError: a wrong shape or dtype, streams that do not match the layer, or padding or a question axis
                together with `released_expert_order`.
        """
        _checks.channels("frames", frames, ["B", "T"], self.experts.weight1)
        if self.released_expert_order and (question.dim() == 3 or key_padding_mask is not None or lengths is not None):
            raise ValueError(
                "released_expert_order is defined for one question a clip and without padding; "
                "build the layer with released_expert_order=False for key_padding_mask, lengths or [B, Q, D]"
            )
        source = self._source(frames, streams)
        timing = {"key_padding_mask": key_padding_mask, "lengths": lengths, "times": times, "duration": duration}
        if routing is None:
            routing = self.router(question, frames, **timing, return_weights=return_routing)
            # The weights are for whoever asked: the experts take theirs from centers and stds and need not store them.
            profile = routing._replace(weights=None)
        else:
            # The router, which checks the question otherwise, is not asked.
            axis = ["Q"] if question.dim() == 3 else []
            _checks.channels("question", question, [frames.shape[0], *axis], self.experts.weight1)
            _checks.shape("routing.gates", routing.gates, [*question.shape[:-1], "K"])
            profile = routing
        pooled = self.experts(source, profile, **timing)
        if not self.num_streams:
            result = self.norms[0](pooled)
        else:
            parts = zip(self.norms, pooled.unbind(-2), strict=True)
            result = torch.stack([norm(part) for norm, part in parts], dim=-2)
        return (result, routing) if return_routing else result

    def _source(self, frames: Tensor, streams: Tensor | Sequence[Tensor] | None) -> Tensor:
        """What the experts read: the frames [B, T, D], or for each stream the frames and it, [B, S, T, D]."""
        if not self.num_streams:
            if streams is not None:
                raise ValueError("streams were given to a layer without; build it with num_streams=S")
            return frames
        if streams is None:
            raise ValueError(f"streams are missing: this layer has num_streams={self.num_streams}")
        if isinstance(streams, Tensor):
            _checks.shape("streams", streams, [frames.shape[0], self.num_streams, *frames.shape[1:]])
            _checks.channels("streams", streams, streams.shape[:-1], self.experts.weight1)
        else:
            if len(streams) != self.num_streams:
                raise ValueError(f"streams must hold {self.num_streams} tensors, got {len(streams)}")
            for number, stream in enumerate(streams):
                _checks.channels(f"streams[{number}]", stream, frames.shape[:-1], self.experts.weight1)
            streams = torch.stack(tuple(streams), dim=1)
        return frames.unsqueeze(1) + streams

    def extra_repr(self) -> str:
        return f"dim={self.dim}, num_streams={self.num_streams}"
