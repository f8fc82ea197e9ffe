"""QA-TIGER as it was published, in plain torch: the computation that ours is measured against.

Every attention is `nn.MultiheadAttention` as it comes, sequence first and with its averaged weights; every expert
computes both layers on every frame, and all results are stored before the chosen ones are gathered. The definition,
the names in the state dict and what is stored are the published ones; how a sample finds its experts is mended, and
the published way is an option.

B batch, T frames, N patches of one frame, L words, D channels, E experts, K experts in use, A answers.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAST_WIDTH, WIDTHS = 0.09, 9


class PublishedFusion(nn.Module):
    """Self-, cross- and question attention and a feed-forward, shared by both directions."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.qst_attn = nn.MultiheadAttention(dim, heads, dropout=dropout)
        self.crs_attn = nn.MultiheadAttention(dim, heads, dropout=dropout)
        self.slf_attn = nn.MultiheadAttention(dim, heads, dropout=dropout)
        self.linear1 = nn.Linear(dim, dim)
        self.linear2 = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(
        self,
        audio: Tensor,  # [B, T, D]
        video: Tensor,  # [B, T, D]
        words: Tensor,  # [B, L, D]
    ) -> tuple[Tensor, Tensor]:  # [B, T, D] each
        """The fused audio and video."""
        return self._direction(audio, video, words), self._direction(video, audio, words)

    def _direction(self, x: Tensor, other: Tensor, words: Tensor) -> Tensor:
        x, other, words = x.transpose(0, 1), other.transpose(0, 1), words.transpose(0, 1)
        asked, _ = self.qst_attn(x, words, words)
        own, _ = self.slf_attn(x, x, x)
        crossed, _ = self.crs_attn(x, other, other)
        h = self.norm1(x + self.dropout(own) + self.dropout(crossed) + self.dropout(asked))
        hidden = self.dropout(F.relu(self.linear1(h)))
        out: Tensor = self.norm2(h + self.dropout(self.linear2(hidden)))
        return out.transpose(0, 1)


class PublishedPatches(nn.Module):
    """Each frame's patches attend to one another; then the frame's video and audio feature attend to them."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.vnorm = nn.LayerNorm(dim)
        self.anorm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.slf_attn = nn.MultiheadAttention(dim, heads, dropout=dropout)
        self.crs_attn = nn.MultiheadAttention(dim, heads, dropout=dropout)
        self.mlp = _two_layers(dim)

    def forward(
        self,
        patches: Tensor,  # [B, T, N, D]
        audio: Tensor,  # [B, T, D]
        video: Tensor,  # [B, T, D]
    ) -> tuple[Tensor, Tensor]:  # [B, T, D] each
        """What audio and what video read in the patches."""
        B, T, _, D = patches.shape
        patches = patches.flatten(0, 1).transpose(0, 1)  # [N, B T, D]
        patches = patches + self.slf_attn(patches, patches, patches)[0]
        queries = torch.stack((video.reshape(B * T, D), audio.reshape(B * T, D)))
        attended, _ = self.crs_attn(queries, patches, patches)
        read_video, read_audio = self.mlp(self.dropout(attended)).view(2, B, T, D).unbind()
        return self.anorm(read_audio), self.vnorm(read_video)


class PublishedRefiner(nn.Module):
    """The question attends to a set of pooled features."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, dropout=dropout)
        self.mlp = _two_layers(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        question: Tensor,  # [B, D]
        pooled: Tensor,  # [N, B, D]
    ) -> Tensor:  # [B, D]
        """The refined feature."""
        attended = self.attn(question.unsqueeze(0), pooled, pooled)[0].squeeze(0)
        refined: Tensor = self.norm(pooled.mean(0) + self.dropout(self.mlp(attended)))
        return refined


class PublishedMoE(nn.Module):
    """Every expert on every frame, then the sum over the chosen ones under their Gaussians."""

    centers: Tensor

    def __init__(
        self, dim: int, heads: int, num_experts: int, top_k: int, dropout: float, streams: bool, released_order: bool
    ) -> None:
        super().__init__()
        self.num_experts, self.top_k, self.released_order = num_experts, top_k, released_order
        for name in ("anorm", "vnorm") if streams else ("norm",):
            self.add_module(name, nn.LayerNorm(dim))
        self.qst_attn = nn.MultiheadAttention(dim, heads, dropout=dropout)
        self.gauss_pred = nn.Sequential(nn.Linear(dim, 2 * num_experts))
        self.router = nn.Sequential(nn.Linear(dim, num_experts))
        self.experts = nn.ModuleList(_two_layers(dim) for _ in range(num_experts))
        half = 1 / (2 * num_experts)
        centers = torch.linspace(half, 1 - half, num_experts, dtype=torch.float64)
        self.register_buffer("centers", centers, persistent=False)

    def forward(
        self,
        question: Tensor,  # [B, D]
        frames: Tensor,  # [B, T, D]
        streams: tuple[Tensor, ...] = (),  # [B, T, D] each
    ) -> tuple[Tensor, ...]:  # [B, D] each
        """The pooled frames, or for each stream the pooled sum of frames and stream."""
        T = frames.shape[1]
        frames = frames.transpose(0, 1)
        context = self.qst_attn(question.unsqueeze(0), frames, frames)[0].squeeze(0)
        gates, indices = torch.topk(F.softmax(self.router(context), dim=-1), self.top_k, dim=-1)
        gates = gates / gates.sum(dim=-1, keepdim=True)
        raw = self.gauss_pred(context).unflatten(-1, (self.num_experts, 2))
        shifts = torch.tanh(raw[..., 0]) / (2 * self.num_experts)
        # Anchors and times are at least float32, as published: under autocast only what the linear layer gave is not.
        wide = torch.promote_types(shifts.dtype, torch.float32)
        centers = torch.gather(self.centers.to(wide) + shifts, 1, indices)
        widths = torch.gather(torch.sigmoid(raw[..., 1]), 1, indices)
        weights = torch.stack([_gaussian(c, w, T) for c, w in zip(centers.unbind(1), widths.unbind(1), strict=True)], 1)
        if not streams:
            return (self.get_submodule("norm")(self._mixed(frames, gates, indices, weights)),)
        norms = (self.get_submodule(name) for name in ("anorm", "vnorm"))
        mixed = (self._mixed(frames + stream.transpose(0, 1), gates, indices, weights) for stream in streams)
        return tuple(norm(pooled) for norm, pooled in zip(norms, mixed, strict=True))

    def _mixed(
        self,
        frames: Tensor,  # [T, B, D]
        gates: Tensor,  # [B, K]
        indices: Tensor,  # [B, K]
        weights: Tensor,  # [B, K, T]
    ) -> Tensor:  # [B, D]
        T, B, D = frames.shape
        results = torch.stack([expert(frames) for expert in self.experts], dim=2)  # [T, B, E, D]
        results = results.transpose(0, 1).reshape(B * T, self.num_experts, D)
        # As released, row b T + t gets the experts of sample (b T + t) mod B.
        chosen = indices.repeat(T, 1) if self.released_order else indices.repeat_interleave(T, 0)
        results = torch.gather(results, 1, chosen.unsqueeze(-1).repeat(1, 1, D)).view(B, T, self.top_k, D)
        pooled = [weights[:, k].unsqueeze(1) @ results[:, :, k] for k in range(self.top_k)]
        return (gates.unsqueeze(1) @ torch.cat(pooled, dim=1)).squeeze(1)


class PublishedQATiger(nn.Module):
    """The whole model under the published names; scores one question a clip. Its weights are meant to be loaded.

    Args:
        audio_dim: channels of the audio features.
        video_dim: channels of the features of frames, question and words.
        patch_dim: channels of the patch features.
        dim: D.
        num_answers: A.
        num_experts: E.
        top_k: K.
        heads: of every attention.
        dropout: rate everywhere.
        released_order: the published indexing, with which an answer depends on its batch.

    Examples:
        >>> import torch
        >>> from examples.avqa.measure.published import PublishedQATiger
        >>> model = PublishedQATiger(audio_dim=8, video_dim=24, patch_dim=20, dim=16)
        >>> audio, video, patches = torch.randn(2, 60, 8), torch.randn(2, 60, 24), torch.randn(2, 60, 14, 20)
        >>> model(audio, video, patches, torch.randn(2, 24), torch.randn(2, 77, 24)).shape
        torch.Size([2, 42])
    """

    def __init__(
        self,
        audio_dim: int = 128,
        video_dim: int = 768,
        patch_dim: int = 1024,
        dim: int = 512,
        num_answers: int = 42,
        num_experts: int = 7,
        top_k: int = 7,
        heads: int = 8,
        dropout: float = 0.1,
        released_order: bool = False,
    ) -> None:
        super().__init__()
        self.audio_proj = _projection(audio_dim, dim)
        self.video_proj = _projection(video_dim, dim)
        self.patch_proj = _projection(patch_dim, dim)
        self.words_proj = _projection(video_dim, dim)
        self.quest_proj = _projection(video_dim, dim)
        self.crs_attn = PublishedFusion(dim, heads, dropout)
        self.patch_selecter = PublishedPatches(dim, heads, dropout)
        self.quest_grounding = PublishedRefiner(dim, heads, dropout)
        mixture = (dim, heads, num_experts, top_k, dropout)
        self.at_aggregator = PublishedMoE(*mixture, streams=False, released_order=released_order)
        self.vt_aggregator = PublishedMoE(*mixture, streams=True, released_order=released_order)
        self.head = nn.Linear(dim, num_answers)

    def forward(
        self,
        audio: Tensor,  # [B, T, audio_dim]
        video: Tensor,  # [B, T, video_dim]
        patches: Tensor,  # [B, T, N, patch_dim]
        question: Tensor,  # [B, video_dim]
        words: Tensor,  # [B, L, video_dim]
    ) -> Tensor:  # [B, A]
        """Scores the answers."""
        audio, video, words = self.audio_proj(audio), self.video_proj(video), self.words_proj(words)
        question, patches = self.quest_proj(question), self.patch_proj(patches)
        audio, video = self.crs_attn(audio, video, words)
        read = self.patch_selecter(patches, audio, video)
        (heard,) = self.at_aggregator(question, audio)
        seen = self.vt_aggregator(question, video, read)
        refined = self.quest_grounding(question, torch.stack(seen))
        refined = self.quest_grounding(question, torch.stack((refined, heard)))
        logits: Tensor = self.head(F.relu(refined))
        return logits


def _gaussian(
    center: Tensor,  # [B]
    width: Tensor,  # [B]
    num_frames: int,
) -> Tensor:  # [B, T]
    """The density over its largest sampled value."""
    times = torch.linspace(0, 1, num_frames, device=center.device, dtype=center.dtype)
    center = center.clamp(0, 1).unsqueeze(-1)
    std = width.clamp(min=LEAST_WIDTH).unsqueeze(-1) / WIDTHS
    density = torch.exp(-((times - center) ** 2) / (2 * std**2)) / (math.sqrt(2 * math.pi) * std)
    return density / density.max(dim=-1, keepdim=True).values


def _two_layers(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, dim // 2), nn.ReLU(), nn.Linear(dim // 2, dim))


def _projection(width: int, dim: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(proj=nn.Linear(width, dim)))
