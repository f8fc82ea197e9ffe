"""The question reads a small set of pooled features and refines them into one.

B leading dimensions, N pooled features, D channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import _checks, _init
from ._mlp import two_layers
from ._state import VersionedModule
from .attention import Attention


class ProgressiveRefiner(VersionedModule):
    """`LayerNorm(mean_n z_n + dropout(MLP(attention(q, z))))`, MLP D -> H -> D with ReLU between.

    QA-TIGER (arXiv 2503.04459), section 3.4. The question itself is not added.

    Args:
        dim: D.
        heads: attention heads; divides `dim`.
        hidden_dim: H, by default D/2.
        dropout: rate on the attention weights and on the MLP's result.
        backend: "auto" or "torch", plain aten operations throughout.

    Raises:
        ValueError: a size below 1, `heads` that does not divide `dim`, or another backend.

    Examples:
        >>> import torch
        >>> from gaussian_moe import ProgressiveRefiner
        >>> ProgressiveRefiner(16, heads=4)(torch.randn(2, 16), torch.randn(2, 3, 16)).shape
        torch.Size([2, 16])
    """

    def __init__(
        self,
        dim: int,
        heads: int = 8,
        hidden_dim: int | None = None,
        dropout: float = 0.1,
        backend: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.attention = Attention(dim, heads, dropout, backend, device=device, dtype=dtype)
        self.mlp = two_layers(dim, hidden_dim, backend, device, dtype)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Kaiming-normal linear layers; the attention keeps PyTorch's own initialisation."""
        self.attention.reset_parameters()
        self.mlp.apply(_init.linear_)
        self.norm.reset_parameters()

    def forward(
        self,
        question: Tensor,  # [B, D] or [B, Q, D]; any leading dimensions
        pooled: Tensor,  # [B, N, D] or [B, Q, N, D]
    ) -> Tensor:  # like question
        """Refines.

        Args:
            question: [B, D], or [B, Q, D] for Q questions about each clip, or any other leading dimensions.
            pooled: [B, N, D], N at least 1; with a question axis [B, Q, N, D].

        Returns:
            The shape of the question.

        Raises:
            ValueError: a wrong shape or dtype.
        """
        weight = self.attention.in_proj_weight
        _checks.channels("question", question, ["B"] if question.dim() == 2 else question.shape[:-1], weight)
        wanted = [*question.shape[:-1], "N"]
        _checks.shape(f"pooled, for question {list(question.shape)},", pooled, [*wanted, self.dim])
        _checks.channels("pooled", pooled, wanted, weight)
        if pooled.shape[-2] == 0:
            raise ValueError("pooled must hold at least one feature, got N=0")
        attended = self.attention(question.unsqueeze(-2), pooled).squeeze(-2)
        refined: Tensor = self.norm(pooled.mean(-2) + self.dropout(self.mlp(attended)))
        return refined
