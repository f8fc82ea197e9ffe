"""TSPM, rebuilt from its paper: key frames chosen by a declarative prompt, key patches by the sound.

Li, Du and Hu, Boosting Audio Visual Question Answering via Key Semantic-Aware Cues (ACM MM 2024), section 3.

B batch, Q questions of one clip, T frames, K key frames, N patches of one frame, D channels, A answers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gaussian_moe.attention import Attention

from .cross_modal import CrossModalFusion
from .outputs import AVQAOutput
from .top_frames import attention_weights, top_frames


class TSPM(nn.Module):
    """Temporal-spatial perception model.

    Audio and video frames read each other (for the average over time); the prompt's attention to the frames
    selects K of them; in those, the sound reads the merged patches; the question reads the selected sound and what
    the sound read. Six vectors are joined, multiplied by the question, and scored.

    Selecting has no gradient, so the prompt's projection and attention stay as they are initialised, as in the
    published code. The patches are those of the selected frames, as the paper says (the published code takes those
    of the clip's first K frames).

    Args:
        audio_dim: channels of the audio features.
        video_dim: channels of the frame features.
        patch_dim: channels of the patch features.
        question_dim: channels of the question's and the prompt's features.
        dim: D.
        num_answers: A.
        count: K.
        heads: heads of the prompt's, the question's and the sound's attentions; the others have one, as published.
        dropout: rate everywhere.

    Raises:
        ValueError: `count` is below 1, or `heads` does not divide `dim`.

    Examples:
        >>> import torch
        >>> from examples.avqa.tspm import TSPM
        >>> model = TSPM(audio_dim=8, video_dim=24, patch_dim=20, question_dim=24, dim=16)
        >>> out = model(
        ...     torch.randn(2, 60, 8), torch.randn(2, 60, 24), torch.randn(2, 60, 14, 20),
        ...     torch.randn(2, 24), torch.randn(2, 24),
        ... )
        >>> out.logits.shape
        torch.Size([2, 42])
    """

    def __init__(
        self,
        audio_dim: int = 128,
        video_dim: int = 768,
        patch_dim: int = 1024,
        question_dim: int = 768,
        dim: int = 512,
        num_answers: int = 42,
        count: int = 10,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        self.count = count
        self.audio_projection = nn.Linear(audio_dim, dim)
        self.video_projection = nn.Linear(video_dim, dim)
        self.patch_projection = nn.Linear(patch_dim, dim)
        self.question_projection = nn.Linear(question_dim, dim)
        self.prompt_projection = nn.Linear(question_dim, dim)
        self.fusion = CrossModalFusion(dim, heads=1, dropout=dropout)
        self.selection = Attention(dim, heads, dropout)
        self.patch_attention = _TokenAttention(dim, dropout)
        self.spatial = _Reading(dim, heads, dropout)
        self.temporal = _Reading(dim, heads, dropout)
        self.joined = nn.Linear(6 * dim, dim)
        self.head = nn.Linear(dim, num_answers)
        for untrained in (self.prompt_projection, self.selection):
            untrained.requires_grad_(False)

    def forward(
        self,
        audio: Tensor,  # [B, T, audio_dim]
        video: Tensor,  # [B, T, video_dim]
        patches: Tensor,  # [B, T, N, patch_dim]
        question: Tensor,  # [B, question_dim] or [B, Q, question_dim]
        prompt: Tensor,  # like question
        *,
        padding_mask: Tensor | None = None,  # [B, T] bool
    ) -> AVQAOutput:
        """Scores the answers.

        Args:
            audio: [B, T, audio_dim].
            video: [B, T, video_dim].
            patches: [B, T, N, patch_dim].
            question: [B, question_dim], or [B, Q, question_dim] for Q questions about each clip.
            prompt: the declarative prompt, of the question's shape.
            padding_mask: [B, T] bool, True = ignore.

        Returns:
            Logits [B, A] or [B, Q, A]; no routings.

        Raises:
            ValueError: `prompt` is not of the question's shape.
        """
        if prompt.shape != question.shape:
            raise ValueError(f"prompt must be {list(question.shape)}, as the question, got {list(prompt.shape)}")
        single = question.dim() == 2
        if single:
            question, prompt = question.unsqueeze(1), prompt.unsqueeze(1)
        if padding_mask is not None:
            audio, video = (x.masked_fill(padding_mask.unsqueeze(-1), 0.0) for x in (audio, video))
            patches = patches.masked_fill(padding_mask[..., None, None], 0.0)
        audio, video = self.audio_projection(audio), self.video_projection(video)
        question, prompt = self.question_projection(question), self.prompt_projection(prompt)
        fused_audio, fused_video = self.fusion(audio, video, padding_mask)
        chosen, missing = top_frames(
            attention_weights(self.selection, prompt, video, padding_mask), self.count, padding_mask
        )
        heard = _picked(audio, chosen)
        seen = self._seen(patches, chosen, heard)
        asked = question.shape[1]
        vectors = [
            self.temporal(question, heard, missing),
            _mean(fused_audio, padding_mask).unsqueeze(1).expand(-1, asked, -1),
            _mean(heard, missing),
            self.temporal(question, seen, missing),
            _mean(fused_video, padding_mask).unsqueeze(1).expand(-1, asked, -1),
            _mean(seen, missing),
        ]
        joined = self.joined(torch.cat(vectors, dim=-1).tanh())
        logits = self.head((joined * question).tanh())
        return AVQAOutput(logits.squeeze(1) if single else logits, None, None)

    def _seen(
        self,
        patches: Tensor,  # [B, T, N, patch_dim]
        chosen: Tensor,  # [B, Q, K]
        heard: Tensor,  # [B, Q, K, D]
    ) -> Tensor:  # [B, Q, K, D]
        """What each chosen second's sound reads in its patches."""
        _, Q, K = chosen.shape
        if patches.shape[1] > Q * K:
            # Fewer frames are chosen than there are.
            read = self.patch_attention(self.patch_projection(_picked(patches, chosen)))
        else:
            read = _picked(self.patch_attention(self.patch_projection(patches)), chosen)
        seen: Tensor = self.spatial(heard, read)
        return seen


class _Reading(nn.Module):
    """A query attends: `LN(a + drop(W2 drop(relu(W1 a))))`, a what was attended; the query is not added."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(dim, heads, dropout)
        self.linear1, self.linear2 = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        queries: Tensor,  # [..., D]
        source: Tensor,  # [..., L, D]
        padding: Tensor | None = None,  # [..., L] bool
    ) -> Tensor:  # [..., D]
        """One query for each source."""
        attended = self.attention(queries.unsqueeze(-2), source, padding).squeeze(-2)
        hidden = self.dropout(torch.relu(self.linear1(attended)))
        out: Tensor = self.norm(attended + self.dropout(self.linear2(hidden)))
        return out


class _TokenAttention(nn.Module):
    """One transformer layer over a frame's patches, one head, norms behind."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(dim, 1, dropout)
        self.linear1, self.linear2 = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, patches: Tensor) -> Tensor:  # [..., N, D]
        h = self.norm1(patches + self.dropout(self.attention(patches, patches)))
        hidden = self.dropout(torch.relu(self.linear1(h)))
        out: Tensor = self.norm2(h + self.dropout(self.linear2(hidden)))
        return out


def _picked(
    frames: Tensor,  # [B, T, ...]
    numbers: Tensor,  # [B, Q, K]
) -> Tensor:  # [B, Q, K, ...]
    return frames[torch.arange(len(frames), device=frames.device).view(-1, 1, 1), numbers]


def _mean(
    frames: Tensor,  # [..., T, D]
    padding: Tensor | None,  # [..., T] bool
) -> Tensor:  # [..., D]
    if padding is None:
        return frames.mean(-2)
    counted = (~padding).to(frames.dtype).unsqueeze(-1)
    return (frames * counted).sum(-2) / counted.sum(-2).clamp(min=1)
