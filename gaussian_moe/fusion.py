"""Audio and video frames read each other and the question's words.

B batch, Q questions of one clip, T frames, L words, D channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import _checks, _init
from ._state import VersionedModule
from .attention import Attention
from .linear import Linear
from .timeline import emptied


class QuestionFusion(VersionedModule):
    """Question-aware fusion of two frame sequences; all parameters are shared by the two directions.

        h   = LN1(x + drop(self(x, x)) + drop(cross(x, other)) + drop(question(x, words)))
        out = LN2(h + drop(W_b drop(relu(W_a h))))

    The three attentions read the original inputs in parallel. QA-TIGER (arXiv 2503.04459), section 3.2.

    Args:
        dim: D.
        heads: heads of each attention; divides `dim`.
        hidden_dim: channels between W_a and W_b, by default D.
        dropout: rate on attention weights, on each branch and in the feed-forward.
        backend: "auto" or "torch", plain aten operations throughout.

    Raises:
        ValueError: a size below 1, `heads` that does not divide `dim`, or another backend.

    Examples:
        >>> import torch
        >>> from gaussian_moe import QuestionFusion
        >>> audio, video, words = torch.randn(2, 60, 16), torch.randn(2, 60, 16), torch.randn(2, 9, 16)
        >>> audio, video = QuestionFusion(16, heads=4)(audio, video, words)
        >>> audio.shape, video.shape
        (torch.Size([2, 60, 16]), torch.Size([2, 60, 16]))
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
        hidden_dim = dim if hidden_dim is None else hidden_dim
        _checks.positive(hidden_dim=hidden_dim)
        self.dim = dim
        self.self_attention = Attention(dim, heads, dropout, backend, device=device, dtype=dtype)
        self.cross_attention = Attention(dim, heads, dropout, backend, device=device, dtype=dtype)
        self.question_attention = Attention(dim, heads, dropout, backend, device=device, dtype=dtype)
        self.linear1 = Linear(dim, hidden_dim, backend=backend, device=device, dtype=dtype)
        self.linear2 = Linear(hidden_dim, dim, backend=backend, device=device, dtype=dtype)
        self.norm1 = nn.LayerNorm(dim, device=device, dtype=dtype)
        self.norm2 = nn.LayerNorm(dim, device=device, dtype=dtype)
        self.dropout = nn.Dropout(dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Kaiming-normal linear layers; the attentions keep PyTorch's own initialisation."""
        for attention in (self.self_attention, self.cross_attention, self.question_attention):
            attention.reset_parameters()
        for linear in (self.linear1, self.linear2):
            _init.linear_(linear)
        self.norm1.reset_parameters()
        self.norm2.reset_parameters()

    def forward(
        self,
        audio: Tensor,  # [B, T, D]
        video: Tensor,  # [B, T', D]
        words: Tensor,  # [B, L, D] or [B, Q, L, D]
        *,
        audio_padding_mask: Tensor | None = None,  # [B, T] bool
        video_padding_mask: Tensor | None = None,  # [B, T'] bool
        words_padding_mask: Tensor | None = None,  # [B, L] or [B, Q, L] bool
    ) -> tuple[Tensor, Tensor]:  # [B, (Q,) T, D], [B, (Q,) T', D]
        """Fuses.

        Args:
            audio: [B, T, D].
            video: [B, T', D]; T' may differ from T.
            words: [B, L, D], or [B, Q, L, D] for Q questions about each clip. What does not depend on the
                question is then computed once a clip.
            audio_padding_mask: [B, T] bool, True = ignore.
            video_padding_mask: [B, T'] bool, True = ignore.
            words_padding_mask: [B, L] or [B, Q, L] bool, True = ignore.

        Returns:
            The fused audio and video, [B, T, D] and [B, T', D]; with a question axis [B, Q, T, D] and
            [B, Q, T', D].

        Raises:
            ValueError: a wrong shape or dtype.
        """
        weight = self.self_attention.in_proj_weight
        _checks.channels("audio", audio, ["B", "T"], weight)
        clips = audio.shape[0]
        _checks.channels("video", video, [clips, "T'"], weight)
        _checks.channels("words", words, [clips, "Q", "L"] if words.dim() == 4 else [clips, "L"], weight)
        _checks.padding_mask("audio_padding_mask", audio_padding_mask, audio.shape[:2])
        _checks.padding_mask("video_padding_mask", video_padding_mask, video.shape[:2])
        _checks.padding_mask("words_padding_mask", words_padding_mask, words.shape[:-1])
        audio, video = emptied(audio, audio_padding_mask), emptied(video, video_padding_mask)
        words = emptied(words, words_padding_mask)
        if audio.shape == video.shape and (audio_padding_mask is None) == (video_padding_mask is None):
            # Both directions at once: half as many steps, and the words are projected once.
            both, padding, other_padding = torch.stack((audio, video)), None, None
            if audio_padding_mask is not None:
                assert video_padding_mask is not None
                padding = torch.stack((audio_padding_mask, video_padding_mask))
                other_padding = padding.flip(0)
            if words_padding_mask is not None:
                words_padding_mask = words_padding_mask.unsqueeze(0)
            fused = self._direction(both, both.flip(0), words.unsqueeze(0), padding, other_padding, words_padding_mask)
            return fused[0], fused[1]
        fused_audio = self._direction(audio, video, words, audio_padding_mask, video_padding_mask, words_padding_mask)
        fused_video = self._direction(video, audio, words, video_padding_mask, audio_padding_mask, words_padding_mask)
        return fused_audio, fused_video

    def _direction(
        self,
        x: Tensor,  # [..., T, D]
        other: Tensor,  # [..., T', D]
        words: Tensor,  # [..., (Q,) L, D]
        x_padding: Tensor | None,  # [..., T] bool
        other_padding: Tensor | None,  # [..., T'] bool
        words_padding: Tensor | None,  # [..., (Q,) L] bool
    ) -> Tensor:  # [..., (Q,) T, D]
        h = x + self.dropout(self.self_attention(x, x, x_padding))
        h = h + self.dropout(self.cross_attention(x, other, other_padding))
        if words.dim() > x.dim():
            x, h = x.unsqueeze(-3), h.unsqueeze(-3)
        h = self.norm1(h + self.dropout(self.question_attention(x, words, words_padding)))
        hidden = self.dropout(torch.relu(self.linear1(h)))
        out: Tensor = self.norm2(h + self.dropout(self.linear2(hidden)))
        return out
