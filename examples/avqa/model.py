"""QA-TIGER (CVPR 2025, arXiv 2503.04459), made of the library's layers.

B batch, Q questions of one clip, T frames, N patches of one frame, L words, D channels, A answers.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from gaussian_moe import PatchFusion, ProgressiveRefiner, QuestionFusion, Routing, TemporalMoE
from gaussian_moe.linear import Linear

from .cross_modal import CrossModalFusion
from .outputs import AVQAOutput
from .reweighted import TopFramesMoE, UniformMoE

Pooling = Literal["gaussian", "uniform", "top_frames"]
"""How the frames are weighted over time."""


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
        pooling: "gaussian"; "uniform" for the same model with every frame weighted alike; "top_frames" with the
            frames that the question attends to most at 1 and the others at 0.
        top_frames: how many frames "top_frames" keeps.
        question_fusion: whether audio and video frames read the question's words; without, they read each other
            and themselves only.
        released_expert_order: the published code's batch-dependent indexing; see `TemporalMoE`.

    Raises:
        ValueError: a size below 1, `top_k` above `num_experts`, `heads` that does not divide `dim`, an unknown
            `pooling`.

    Examples:
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
        top_frames: int = 10,
        question_fusion: bool = True,
        released_expert_order: bool = False,
    ) -> None:
        super().__init__()
        if pooling not in get_args(Pooling):
            raise ValueError(f"pooling must be one of {', '.join(get_args(Pooling))}, got {pooling!r}")
        question_dim = video_dim if question_dim is None else question_dim
        self.audio_projection = Linear(audio_dim, dim)
        self.video_projection = Linear(video_dim, dim)
        self.patch_projection = Linear(patch_dim, dim)
        # Without the question's fusion nothing reads the words.
        self.words_projection = Linear(question_dim, dim) if question_fusion else None
        self.question_projection = Linear(question_dim, dim)
        self.fusion = (QuestionFusion if question_fusion else CrossModalFusion)(dim, heads, dropout=dropout)
        self.patch_fusion = PatchFusion(dim, heads, dropout=dropout)
        mixtures: dict[str, Any] = {
            "gaussian": TemporalMoE,
            "uniform": UniformMoE,
            "top_frames": partial(TopFramesMoE, count=top_frames),
        }
        mixture = mixtures[pooling]
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
        for linear in (*self._projections().values(), self.head):
            nn.init.kaiming_normal_(linear.weight)
            nn.init.zeros_(linear.bias)

    def _projections(self) -> dict[str, nn.Linear]:
        projections = {
            "audio": self.audio_projection,
            "video": self.video_projection,
            "patches": self.patch_projection,
            "words": self.words_projection,
            "question": self.question_projection,
        }
        return {name: projection for name, projection in projections.items() if projection is not None}

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
        for name, projection in self._projections().items():
            if inputs[name].shape[-1] != projection.in_features:
                raise ValueError(f"{name} must be [..., {projection.in_features}], got {list(inputs[name].shape)}")
        if self.audio_moe.released_expert_order and question.dim() == 3:
            raise ValueError("released_expert_order is defined for one question a clip; question has a question axis")
        if question.dim() + 1 != words.dim():
            raise ValueError(
                f"question and words must both have a question axis or neither, got {list(question.shape)} and "
                f"{list(words.shape)}"
            )
        audio, video, patches = (_emptied(features, padding_mask) for features in (audio, video, patches))
        audio, video = self.audio_projection(audio), self.video_projection(video)
        patches, question = self.patch_projection(patches), self.question_projection(question)
        audio, video = self._fused(audio, video, words, padding_mask, words_padding_mask)
        audio_patches, video_patches = self.patch_fusion(patches, audio, video)
        asked = question.shape[:-1]
        if audio.dim() == 4:
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
        if question.dim() == 3:
            question, heard, seen = question.flatten(0, 1), heard.flatten(0, 1), seen.flatten(0, 1)
            audio_routing, visual_routing = _a_sample_each(audio_routing), _a_sample_each(visual_routing)
        refined = self.refiner(question, seen)
        refined = self.refiner(question, torch.stack((refined, heard), dim=1))
        logits = self.head(torch.relu(refined)).unflatten(0, asked)
        return AVQAOutput(logits, audio_routing, visual_routing)

    def _fused(
        self,
        audio: Tensor,  # [B, T, D]
        video: Tensor,  # [B, T, D]
        words: Tensor,  # [B, (Q,) L, question_dim]
        padding: Tensor | None,  # [B, T] bool
        words_padding: Tensor | None,  # [B, (Q,) L] bool
    ) -> tuple[Tensor, Tensor]:  # [B, (Q,) T, D] each; without the question's fusion [B, T, D]
        if self.words_projection is None:
            fused: tuple[Tensor, Tensor] = self.fusion(audio, video, padding)
            return fused
        fused = self.fusion(
            audio,
            video,
            self.words_projection(_emptied(words, words_padding)),
            audio_padding_mask=padding,
            video_padding_mask=padding,
            words_padding_mask=words_padding,
        )
        return fused


def _a_sample_each(routing: Routing) -> Routing:
    """[B, Q, ...] to [B * Q, ...]."""
    return Routing(*(None if part is None else part.flatten(0, 1) for part in routing))  # type: ignore[arg-type]  # in the fields' order


def _emptied(features: Tensor, padding: Tensor | None) -> Tensor:
    """Padding set to 0: a projection's gradient would be 0 * NaN where padding holds NaN."""
    if padding is None or padding.dtype != torch.bool or padding.shape != features.shape[: padding.dim()]:
        # The layers refuse a wrong mask by its name.
        return features
    return features.masked_fill(padding.view(*padding.shape, *[1] * (features.dim() - padding.dim())), 0.0)
