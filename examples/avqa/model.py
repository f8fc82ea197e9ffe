"""QA-TIGER (CVPR 2025, arXiv 2503.04459), made of the library's layers.

B batch, Q questions of one clip, T frames, N patches of one frame, L words, D channels, A answers.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from gaussian_moe import PatchFusion, ProgressiveRefiner, QuestionFusion, Routing, TemporalMoE
from gaussian_moe.linear import Linear

from .uniform import UniformMoE

Pooling = Literal["gaussian", "uniform"]


class AVQAOutput(NamedTuple):
    """What the model says, and where each of its two mixtures looked."""

    logits: Tensor
    """[B, A], or [B, Q, A] with a question axis."""
    audio_routing: Routing
    visual_routing: Routing


class QATiger(nn.Module):
    """Question-aware Gaussian experts over audio, video and patches.

    Audio and video are fused with the question's words; the frame's patches are read by the fused features; an
    audio mixture pools the fused audio, a visual mixture routed by the fused video pools two streams (what audio
    and what video read in the patches); the question refines the three pooled features into one; a linear layer
    scores the answers. Section 3.

    Args:
        audio_dim: channels of the audio features.
        video_dim: channels of the frame features.
        patch_dim: channels of the patch features.
        question_dim: channels of the question's and the words' features; by default `video_dim`, as in the paper.
        dim: D.
        num_answers: A.
        num_experts: E of each mixture.
        top_k: K of each mixture.
        heads: heads of every attention.
        dropout: rate everywhere.
        pooling: "gaussian", or "uniform" for the same model with every frame weighted alike.
        released_expert_order: the published code's batch-dependent indexing; see `TemporalMoE`.

    Raises:
        ValueError: a size below 1, `top_k` above `num_experts`, `heads` that does not divide `dim`, an unknown
            `pooling`.

    Example:
        >>> import torch
        >>> model = QATiger(audio_dim=8, video_dim=24, patch_dim=20, dim=16, num_answers=42)
        >>> out = model(
        ...     torch.randn(2, 60, 8), torch.randn(2, 60, 24), torch.randn(2, 60, 14, 20),
        ...     torch.randn(2, 24), torch.randn(2, 77, 24),
        ... )
        >>> out.logits.shape
        torch.Size([2, 42])
    """

    def __init__(
        self,
        audio_dim: int = 128,
        video_dim: int = 768,
        patch_dim: int = 1024,
        question_dim: int | None = None,
        dim: int = 512,
        num_answers: int = 42,
        num_experts: int = 7,
        top_k: int = 7,
        heads: int = 8,
        dropout: float = 0.1,
        pooling: Pooling = "gaussian",
        released_expert_order: bool = False,
    ) -> None:
        super().__init__()
        if pooling not in get_args(Pooling):
            raise ValueError(f"pooling must be one of {', '.join(get_args(Pooling))}, got {pooling!r}")
        question_dim = video_dim if question_dim is None else question_dim
        self.audio_projection = Linear(audio_dim, dim)
        self.video_projection = Linear(video_dim, dim)
        self.patch_projection = Linear(patch_dim, dim)
        self.words_projection = Linear(question_dim, dim)
        self.question_projection = Linear(question_dim, dim)
        self.fusion = QuestionFusion(dim, heads, dropout=dropout)
        self.patch_fusion = PatchFusion(dim, heads, dropout=dropout)
        mixture = TemporalMoE if pooling == "gaussian" else UniformMoE
        self.audio_moe = mixture(
            dim, num_experts, top_k, heads, dropout=dropout, released_expert_order=released_expert_order
        )
        self.visual_moe = mixture(
            dim,
            num_experts,
            top_k,
            heads,
            num_streams=2,
            dropout=dropout,
            released_expert_order=released_expert_order,
        )
        self.refiner = ProgressiveRefiner(dim, heads, dropout=dropout)
        self.head = nn.Linear(dim, num_answers)
        for linear in (*self._projections(), self.head):
            nn.init.kaiming_normal_(linear.weight)
            nn.init.zeros_(linear.bias)

    def _projections(self) -> tuple[nn.Linear, ...]:
        return (
            self.audio_projection,
            self.video_projection,
            self.patch_projection,
            self.words_projection,
            self.question_projection,
        )

    def forward(
        self,
        audio: Tensor,  # [B, T, audio_dim]
        video: Tensor,  # [B, T, video_dim]
        patches: Tensor,  # [B, T, N, patch_dim]
        question: Tensor,  # [B, question_dim] or [B, Q, question_dim]
        words: Tensor,  # [B, L, question_dim] or [B, Q, L, question_dim]
        *,
        padding_mask: Tensor | None = None,  # [B, T] bool
        words_padding_mask: Tensor | None = None,  # [B, (Q,) L] bool
    ) -> AVQAOutput:
        """Scores the answers.

        Args:
            audio: [B, T, audio_dim].
            video: [B, T, video_dim].
            patches: [B, T, N, patch_dim].
            question: [B, question_dim], or [B, Q, question_dim] for Q questions about each clip; what does not
                depend on the question is then computed once a clip.
            words: [B, L, question_dim] or [B, Q, L, question_dim].
            padding_mask: [B, T] bool, True = ignore; the same for audio and video.
            words_padding_mask: [B, L] or [B, Q, L] bool, True = ignore.

        Returns:
            Logits [B, A] or [B, Q, A], and both routings ([B, ...], or [B * Q, ...] with a question axis).

        Raises:
            ValueError: a wrong shape or dtype.
        """
        inputs = {"audio": audio, "video": video, "patches": patches, "words": words, "question": question}
        for (name, features), projection in zip(inputs.items(), self._projections(), strict=True):
            if features.shape[-1] != projection.in_features:
                raise ValueError(f"{name} must be [..., {projection.in_features}], got {list(features.shape)}")
        if self.audio_moe.released_expert_order and question.dim() == 3:
            raise ValueError("released_expert_order is defined for one question a clip; question has a question axis")
        if question.dim() + 1 != words.dim():
            raise ValueError(
                f"question and words must both have a question axis or neither, got {list(question.shape)} and "
                f"{list(words.shape)}"
            )
        audio, video, patches = (_emptied(features, padding_mask) for features in (audio, video, patches))
        words = _emptied(words, words_padding_mask)
        audio, video = self.audio_projection(audio), self.video_projection(video)
        patches, words = self.patch_projection(patches), self.words_projection(words)
        question = self.question_projection(question)
        audio, video = self.fusion(
            audio,
            video,
            words,
            audio_padding_mask=padding_mask,
            video_padding_mask=padding_mask,
            words_padding_mask=words_padding_mask,
        )
        audio_patches, video_patches = self.patch_fusion(patches, audio, video)
        asked = question.shape[:-1]
        if question.dim() == 3:
            # Fused frames differ from question to question, so from here on a question is a sample.
            if padding_mask is not None:
                padding_mask = padding_mask.repeat_interleave(question.shape[1], dim=0)
            question = question.flatten(0, 1)
            audio, video, audio_patches, video_patches = (
                sequence.flatten(0, 1) for sequence in (audio, video, audio_patches, video_patches)
            )
        heard, audio_routing = self.audio_moe(question, audio, key_padding_mask=padding_mask, return_routing=True)
        seen, visual_routing = self.visual_moe(
            question,
            video,
            streams=(audio_patches, video_patches),
            key_padding_mask=padding_mask,
            return_routing=True,
        )
        refined = self.refiner(question, seen)
        refined = self.refiner(question, torch.stack((refined, heard), dim=1))
        logits = self.head(torch.relu(refined)).unflatten(0, asked)
        return AVQAOutput(logits, audio_routing, visual_routing)


def _emptied(features: Tensor, padding: Tensor | None) -> Tensor:
    """Padding set to 0: a projection's gradient would be 0 * NaN where padding holds NaN."""
    if padding is None or padding.dtype != torch.bool or padding.shape != features.shape[: padding.dim()]:
        # The layers refuse a wrong mask by its name.
        return features
    return features.masked_fill(padding.view(*padding.shape, *[1] * (features.dim() - padding.dim())), 0.0)
