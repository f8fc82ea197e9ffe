"""From a `ModelConfig` to a model: every architecture the trainer knows."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from .config import ModelConfig
from .data import Batch
from .model import QATiger
from .outputs import AVQAOutput
from .tspm import TSPM


def build_model(config: ModelConfig, dims: Mapping[str, int], num_answers: int) -> nn.Module:
    """The model of a config.

    Args:
        config: architecture and sizes.
        dims: channels of audio, video, patches, question and words as the model gets them.
        num_answers: A.

    Raises:
        ValueError: sizes that do not fit each other.
    """
    if config.architecture == "tspm":
        return TSPM(
            audio_dim=dims["audio"],
            video_dim=dims["video"],
            patch_dim=dims["patches"],
            question_dim=dims["question"],
            dim=config.dim,
            num_answers=num_answers,
            count=config.top_frames,
            heads=config.heads,
            dropout=config.dropout,
        )
    if dims["question"] != dims["words"]:
        raise ValueError(
            f"whiten must leave question and words equally wide, got {dims['question']} and {dims['words']}"
        )
    return QATiger(
        audio_dim=dims["audio"],
        video_dim=dims["video"],
        patch_dim=dims["patches"],
        question_dim=dims["question"],
        dim=config.dim,
        num_answers=num_answers,
        num_experts=config.num_experts,
        top_k=config.top_k,
        heads=config.heads,
        dropout=config.dropout,
        pooling=config.pooling,
        top_frames=config.top_frames,
        question_fusion=config.question_fusion,
        released_expert_order=config.released_expert_order,
    )


def run_model(model: nn.Module, batch: Batch) -> AVQAOutput:
    """Asks a model with what it reads of a batch."""
    output: AVQAOutput
    if isinstance(model, TSPM):
        assert isinstance(batch.prompt, Tensor), "the loader was not told to bring prompts"
        output = model(
            batch.audio, batch.video, batch.patches, batch.question, batch.prompt, padding_mask=batch.padding_mask
        )
    else:
        output = model(
            batch.audio,
            batch.video,
            batch.patches,
            batch.question,
            batch.words,
            padding_mask=batch.padding_mask,
            words_padding_mask=batch.words_padding_mask,
        )
    return output
