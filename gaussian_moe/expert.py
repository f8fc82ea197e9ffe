"""A bank of experts, each a two-layer perceptron pooled over time by its Gaussian.

B batch (or B, Q: clips and their questions), S streams, T frames, D channels, H hidden, E experts, K experts in use.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import _checks, _init
from ._shown import options
from ._state import VersionedModule
from .backend import check_backend
from .functional import gaussian_expert_pool
from .functional.pool import check_activation, unfused_experts
from .functional.weights import check_window, unfused_window
from .routing import Routing, check_routing

_DEFAULTS: dict[str, object] = {
    "released_expert_order": False,
    "window": "gaussian",
    "normalization": "peak",
    "activation": "relu",
}


class GaussianExpert(VersionedModule):
    """Experts `f_e(x) = W2_e relu(W1_e x + b1_e) + b2_e`, weighted over time and mixed as a `Routing` says.

    `y = sum_k p_k sum_t g_kt f_e(k)(x_t)`, not normalised over time. QA-TIGER (arXiv 2503.04459), section 3.3.
    With a router of one expert this is question-aware Gaussian pooling.

    Args:
        dim: D, channels of frames and result.
        hidden_dim: H, by default D/2.
        num_experts: E.
        released_expert_order: the published code's indexing; see `TemporalMoE`.
        window: the form of the weights over time, where they follow from centers and stds; see
            `functional.gaussian_weights`.
        normalization: likewise.
        activation: "relu", "gelu" or "silu".
        backend: "auto", "triton" or "torch".

    Raises:
        ValueError: a size below 1.

    Examples:
        >>> import torch
        >>> from gaussian_moe import GaussianExpert, QuestionRouter
        >>> question, frames = torch.randn(2, 16), torch.randn(2, 60, 16)
        >>> router, expert = QuestionRouter(16, num_experts=1, top_k=1, heads=4), GaussianExpert(16)
        >>> expert(frames, router(question, frames)).shape
        torch.Size([2, 16])
    """

    def __init__(
        self,
        dim: int,
        hidden_dim: int | None = None,
        num_experts: int = 1,
        released_expert_order: bool = False,
        backend: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        window: str = "gaussian",
        normalization: str = "peak",
        activation: str = "relu",
    ) -> None:
        super().__init__()
        hidden_dim = max(dim // 2, 1) if hidden_dim is None else hidden_dim
        _checks.positive(dim=dim, hidden_dim=hidden_dim, num_experts=num_experts)
        check_backend(backend)
        check_window(window, normalization)
        check_activation(activation)
        obstacle = unfused_experts(activation, released_expert_order) or unfused_window(window, normalization)
        if backend == "triton" and obstacle:
            raise ValueError(f"backend='triton': {obstacle}; use 'auto' or 'torch'")
        self.dim, self.hidden_dim, self.num_experts = dim, hidden_dim, num_experts
        self.released_expert_order, self.backend = released_expert_order, backend
        self.window, self.normalization, self.activation = window, normalization, activation
        self.weight1 = nn.Parameter(torch.empty(num_experts, hidden_dim, dim, device=device, dtype=dtype))
        self.bias1 = nn.Parameter(torch.empty(num_experts, hidden_dim, device=device, dtype=dtype))
        self.weight2 = nn.Parameter(torch.empty(num_experts, dim, hidden_dim, device=device, dtype=dtype))
        self.bias2 = nn.Parameter(torch.empty(num_experts, dim, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Kaiming-normal weights, zero biases."""
        with torch.no_grad():
            _init.kaiming_(self.weight1, self.bias1)
            _init.kaiming_(self.weight2, self.bias2)

    def forward(
        self,
        frames: Tensor,  # [B, T, D] or [B, S, T, D]
        routing: Routing,
        *,
        key_padding_mask: Tensor | None = None,  # [B, T] bool
        lengths: Tensor | None = None,  # [B] int
        times: Tensor | None = None,  # [B, T] or [T]
        duration: Tensor | float | None = None,  # [B] or one number
        per_expert: bool = False,
    ) -> Tensor:  # [B, D] or [B, Q, D]; [B, S, D] or [B, Q, S, D] with streams; with per_expert K behind B and Q
        """Pools each clip.

        Args:
            frames: [B, T, D], or [B, S, T, D] for S streams under one routing. What padded frames hold does not
                matter.
            routing: gates, indices, centers and stds with leading dimensions [B] or [B, Q]. Where its `weights`
                are None they follow from centers, stds, `times` and `duration`, which is the fastest, as they are
                then never stored; padded frames count for nothing either way.
            key_padding_mask: [B, T] bool, True = ignore.
            lengths: [B] integers, valid frames at the start of each clip; instead of the mask.
            times: [B, T] or [T], when each frame was taken.
            duration: [B] or a number, each clip's length in the unit of `times`.
            per_expert: each expert's own sum over time, `sum_t g_kt f_e(k)(x_t)`, before the gates mix them.

        Returns:
            [B, D], or [B, Q, D] where the routing has a question axis; with streams [B, S, D] or [B, Q, S, D].
            With `per_expert` [B, K, D], [B, Q, K, D], [B, K, S, D] or [B, Q, K, S, D].

        Raises:
            ValueError: a wrong shape or dtype, or padding together with `released_expert_order`.
        """
        check_routing(routing)
        if self.released_expert_order and (key_padding_mask is not None or lengths is not None):
            raise ValueError(
                "released_expert_order is defined without padding only; drop key_padding_mask and lengths, "
                "or build the layer with released_expert_order=False"
            )
        given = routing.weights
        return gaussian_expert_pool(
            frames,
            routing.gates,
            routing.indices,
            given,
            self.weight1,
            self.bias1,
            self.weight2,
            self.bias2,
            centers=routing.centers if given is None else None,
            stds=routing.stds if given is None else None,
            shares=routing.shares if given is None else None,
            key_padding_mask=key_padding_mask,
            lengths=lengths,
            times=times,
            duration=duration,
            window=self.window,
            normalization=self.normalization,
            activation=self.activation,
            per_expert=per_expert,
            released_expert_order=self.released_expert_order,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        shown = f"dim={self.dim}, hidden_dim={self.hidden_dim}, num_experts={self.num_experts}"
        return shown + options(self, _DEFAULTS)
