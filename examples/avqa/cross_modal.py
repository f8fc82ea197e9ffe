"""Audio and video frames read each other, without the question: TSPM's fusion, and QA-TIGER's without its words.

B batch, T frames, D channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gaussian_moe.attention import Attention


class CrossModalFusion(nn.Module):
    """`h = LN1(x + drop(self(x, x)) + drop(cross(x, other)))`, then `LN2(h + drop(W_b drop(relu(W_a h))))`.

    All parameters are shared by the two directions. Names are those of `QuestionFusion`, without its question.

    Args:
        dim: D.
        heads: heads of each attention; divides `dim`.
        dropout: rate on attention weights, on each branch and in the feed-forward.

    Raises:
        ValueError: `heads` does not divide `dim`.

    Examples:
        >>> import torch
        >>> from examples.avqa.cross_modal import CrossModalFusion
        >>> audio, video = CrossModalFusion(16, heads=4)(torch.randn(2, 60, 16), torch.randn(2, 60, 16))
        >>> audio.shape, video.shape
        (torch.Size([2, 60, 16]), torch.Size([2, 60, 16]))
    """

    def __init__(self, dim: int, heads: int = 8, dropout: float = 0.1) -> None:
        super().__init__()
        self.self_attention = Attention(dim, heads, dropout)
        self.cross_attention = Attention(dim, heads, dropout)
        self.linear1, self.linear2 = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        for linear in (self.linear1, self.linear2):
            nn.init.kaiming_normal_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(
        self,
        audio: Tensor,  # [B, T, D]
        video: Tensor,  # [B, T, D]
        padding: Tensor | None = None,  # [B, T] bool, of both
    ) -> tuple[Tensor, Tensor]:  # [B, T, D] each
        """Fuses; what padded frames hold must be finite."""
        return self._direction(audio, video, padding), self._direction(video, audio, padding)

    def _direction(self, x: Tensor, other: Tensor, padding: Tensor | None) -> Tensor:
        h = x + self.dropout(self.self_attention(x, x, padding))
        h = self.norm1(h + self.dropout(self.cross_attention(x, other, padding)))
        hidden = self.dropout(torch.relu(self.linear1(h)))
        out: Tensor = self.norm2(h + self.dropout(self.linear2(hidden)))
        return out
