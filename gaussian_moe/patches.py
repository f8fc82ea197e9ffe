"""Each frame's audio and video feature reads the frame's patches.

B batch, Q questions of one clip, T frames, N patches of one frame, D channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import _checks, _init
from ._mlp import two_layers
from ._rearrange import rearrange
from ._state import VersionedModule
from .attention import Attention


class PatchFusion(VersionedModule):
    """Per frame `p <- p + self(p, p)`; then audio and video feature attend to p: `LN_m(MLP(drop(attended)))`.

    MLP D -> H -> D with ReLU; one LayerNorm a modality, the rest shared; nothing of audio or video is added. The
    patches' own step has no dropout of its own and no norm. QA-TIGER (arXiv 2503.04459), section 3.2.

    Args:
        dim: D.
        heads: heads of each attention; divides `dim`.
        hidden_dim: H, by default D/2.
        dropout: rate on the attention weights and on what was attended.
        backend: "auto" or "torch", plain aten operations throughout.

    Raises:
        ValueError: a size below 1, `heads` that does not divide `dim`, or another backend.

    Examples:
        >>> import torch
        >>> from gaussian_moe import PatchFusion
        >>> patches, audio, video = torch.randn(2, 60, 14, 16), torch.randn(2, 60, 16), torch.randn(2, 60, 16)
        >>> audio, video = PatchFusion(16, heads=4)(patches, audio, video)
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
        self.dim = dim
        self.self_attention = Attention(dim, heads, dropout, backend, device=device, dtype=dtype)
        self.cross_attention = Attention(dim, heads, dropout, backend, device=device, dtype=dtype)
        self.mlp = two_layers(dim, hidden_dim, backend, device, dtype)
        self.dropout = nn.Dropout(dropout)
        self.audio_norm = nn.LayerNorm(dim, device=device, dtype=dtype)
        self.video_norm = nn.LayerNorm(dim, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Kaiming-normal linear layers; the attentions keep PyTorch's own initialisation."""
        self.self_attention.reset_parameters()
        self.cross_attention.reset_parameters()
        self.mlp.apply(_init.linear_)
        self.audio_norm.reset_parameters()
        self.video_norm.reset_parameters()

    def forward(
        self,
        patches: Tensor,  # [B, T, N, D]
        audio: Tensor,  # [B, T, D] or [B, Q, T, D]
        video: Tensor,  # like audio
    ) -> tuple[Tensor, Tensor]:
        """Reads the patches.

        Args:
            patches: [B, T, N, D].
            audio: [B, T, D], or [B, Q, T, D] for Q questions about each clip. The patches are then prepared
                once a clip.
            video: same shape as `audio`.

        Returns:
            What audio and what video read, each of the shape of `audio`.

        Raises:
            ValueError: a wrong shape or dtype.
        """
        weight = self.self_attention.in_proj_weight
        _checks.channels("patches", patches, ["B", "T", "N"], weight)
        clips, frames = patches.shape[:2]
        _checks.channels("audio", audio, [clips, "Q", frames] if audio.dim() == 4 else [clips, frames], weight)
        _checks.channels("video", video, audio.shape[:-1], weight)
        patches = patches + self.self_attention(patches, patches)
        queries = torch.stack((audio, video), dim=-2)
        if audio.dim() == 4:
            attended = self.cross_attention(rearrange(queries, "b q t m d -> b t (q m) d"), patches)
            attended = rearrange(attended, "b t (q m) d -> b q t m d", m=2)
        else:
            attended = self.cross_attention(queries, patches)
        read_audio, read_video = self.mlp(self.dropout(attended)).unbind(-2)
        return self.audio_norm(read_audio), self.video_norm(read_video)
