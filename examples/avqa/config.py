"""Everything a run can be told, with the published training as the default. YAML configs hold these fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Literal

from .errors import UserError
from .model import Pooling

Strategy = Literal["auto", "ddp", "fsdp2"]
Architecture = Literal["qa_tiger", "tspm"]
NAMES: Mapping[Architecture, str] = {"qa_tiger": "QA-TIGER", "tspm": "TSPM"}
"""What tables call each architecture."""
LARGEST_RATE = 1e30
"""Beyond it no step is a number in single precision."""


@dataclass(frozen=True)
class DataConfig:
    """What a model is trained and tested on.

    Args:
        answers: the data set's answer index, a JSON file {"ans2ix": {...}}.
        train: annotations to train on, in MUSIC-AVQA's JSON format.
        val: annotations that choose the best epoch.
        test: annotations that are reported.
        features: folder that `extract` or another program wrote, or what `pack` made of it; null feeds constant
            features, so that the question alone is left.
        encoder: preset that encodes the questions, and that the features were made with.
        weights: for encoder paper, a folder of weights, see `extract --help`; by default the hub's.
        folders: names of the modalities' folders in `features` where they differ from the preset's, as in
            {audio: vggish, video: frame_ViT-L14@336px, patches: visual_tome14}.
        frames: use at most so many frames of a video, the first ones; null uses all.
        questions_cache: folder that keeps the encoded questions; by default `questions` inside `features`.
        clips_per_batch: clips in one training batch, over all processes together: each of W takes every W-th clip.
        questions_per_clip: questions about each of them; 1 is the published random order of single questions,
            more computes what does not depend on the question once.
        eval_clips_per_batch: clips in one batch of validation and test, each with all its questions; over all
            processes together, too.
        workers: processes that read batches ahead, for a GPU that waits; 0 reads in the training process. Order and
            results do not depend on it.
    """

    answers: Path
    train: Path
    val: Path
    test: Path | None = None
    features: Path | None = None
    encoder: str = "small"
    weights: Path | None = None
    questions_cache: Path | None = None
    clips_per_batch: int = 32
    questions_per_clip: int = 1
    eval_clips_per_batch: int = 16
    folders: dict[str, str] = field(default_factory=dict)
    frames: int | None = None
    workers: int = 0


@dataclass(frozen=True)
class ModelConfig:
    """A model and its sizes; QA-TIGER with the published ones by default.

    Args:
        architecture: "qa_tiger", or "tspm" (Li et al., ACM MM 2024), which reads `dim`, `heads`, `dropout`,
            `top_frames` and everything about features.
        dim: channels inside the model.
        num_experts: experts of each mixture.
        top_k: experts in use for one question.
        heads: attention heads.
        dropout: rate everywhere.
        pooling: "gaussian"; "uniform" weights every frame alike; "top_frames" keeps the frames that the question
            attends to most.
        top_frames: frames that "top_frames" and TSPM keep.
        question_fusion: whether audio and video frames read the question's words.
        released_expert_order: the published code's batch-dependent indexing of the experts.
        seconds_per_frame: seconds of features that are averaged into one frame of the model.
        whiten: principal components to keep of each kind of features ("audio", "video", "patches", "question",
            "words"), whitened by the training set; a kind that is left out goes in as it is.
        feature_noise: standard deviation of the noise that training adds to whitened features, whose own is 1.
    """

    architecture: Architecture = "qa_tiger"
    dim: int = 512
    num_experts: int = 7
    top_k: int = 7
    heads: int = 8
    dropout: float = 0.1
    pooling: Pooling = "gaussian"
    top_frames: int = 10
    question_fusion: bool = True
    released_expert_order: bool = False
    seconds_per_frame: int = 1
    whiten: dict[str, int] = field(default_factory=dict)
    feature_noise: float = 0.0


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam as published, or with warm-up and a cosine.

    Args:
        lr: learning rate.
        betas: Adam's decay rates.
        weight_decay: decoupled (AdamW).
        schedule: "step" multiplies the rate by `gamma` every `step_epochs`; "cosine" lowers it to 0.
        step_epochs: epochs between two steps.
        gamma: factor of a step.
        warmup_steps: optimizer steps over which the rate rises linearly from 0.
        label_smoothing: of the cross-entropy.
    """

    lr: float = 1e-4
    betas: tuple[float, float] = (0.95, 0.999)
    weight_decay: float = 0.0
    schedule: Literal["step", "cosine"] = "step"
    step_epochs: int = 8
    gamma: float = 0.1
    warmup_steps: int = 0
    label_smoothing: float = 0.0


@dataclass(frozen=True)
class TrainerConfig:
    """What Lightning is told.

    Args:
        max_epochs: passes over the training questions.
        accelerator: "auto", "cpu", "gpu" or any other of Lightning's.
        devices: how many on each machine, or "auto".
        num_nodes: machines.
        strategy: "auto" (one device, or "ddp" on several), "ddp" (each device holds the whole model) or "fsdp2" (the
            devices share parameters, gradients and optimizer state).
        precision: "32-true", "bf16-mixed", "16-mixed" ...
        gradient_clip_val: largest gradient norm; null clips nothing.
        accumulate_grad_batches: batches for one optimizer step.
        early_stopping_patience: validations without a better accuracy after which training ends; null for never.
        checkpoint_steps: optimizer steps between two writings of last.ckpt within an epoch; null writes it after each
            epoch only.
        tensorboard: whether to write TensorBoard's event files into RUN/tensorboard, beside metrics.csv.
        options: any other argument of `lightning.Trainer`, by name.
    """

    max_epochs: int = 15
    accelerator: str = "auto"
    devices: int | str = "auto"
    num_nodes: int = 1
    strategy: Strategy = "auto"
    precision: str = "32-true"
    gradient_clip_val: float | None = None
    accumulate_grad_batches: int = 1
    early_stopping_patience: int | None = None
    checkpoint_steps: int | None = None
    tensorboard: bool = False
    options: dict[str, Any] = field(default_factory=dict)


def check_data_numbers(data: DataConfig) -> None:
    """Tells numbers of the data with which nothing could be loaded.

    Raises:
        UserError: a number is out of its range.
    """
    sizes = ("clips_per_batch", "questions_per_clip", "eval_clips_per_batch")
    checks: list[tuple[str, object, bool, str]] = [
        *((f"data.{name}", getattr(data, name), getattr(data, name) >= 1, "at least 1") for name in sizes),
        ("data.workers", data.workers, data.workers >= 0, "at least 0"),
        ("data.frames", data.frames, data.frames is None or data.frames >= 1, "at least 1, or null"),
    ]
    _refuse(checks)


def check_numbers(
    data: DataConfig, model: ModelConfig, optimizer: OptimizerConfig, trainer: TrainerConfig, seeds: Sequence[int]
) -> None:
    """Tells numbers that torch or Lightning would refuse late, or take in silence.

    Raises:
        UserError: a number is out of its range.
    """
    clip, patience, steps = trainer.gradient_clip_val, trainer.early_stopping_patience, trainer.checkpoint_steps
    check_data_numbers(data)
    check_model_numbers(model)
    decay = optimizer.weight_decay
    checks: list[tuple[str, object, bool, str]] = [
        ("optimizer.lr", optimizer.lr, 0 < optimizer.lr <= LARGEST_RATE, f"above 0 and at most {LARGEST_RATE:g}"),
        ("optimizer.betas", optimizer.betas, all(0 <= beta < 1 for beta in optimizer.betas), "in [0, 1)"),
        ("optimizer.weight_decay", decay, 0 <= decay < inf, "at least 0, and finite"),
        ("optimizer.step_epochs", optimizer.step_epochs, optimizer.step_epochs >= 1, "at least 1"),
        ("optimizer.gamma", optimizer.gamma, 0 < optimizer.gamma < inf, "above 0, and finite"),
        ("optimizer.warmup_steps", optimizer.warmup_steps, optimizer.warmup_steps >= 0, "at least 0"),
        ("optimizer.label_smoothing", optimizer.label_smoothing, 0 <= optimizer.label_smoothing <= 1, "in [0, 1]"),
        ("trainer.max_epochs", trainer.max_epochs, trainer.max_epochs >= 1, "at least 1"),
        ("trainer.gradient_clip_val", clip, clip is None or 0 < clip < inf, "above 0 and finite, or null"),
        (
            "trainer.accumulate_grad_batches",
            trainer.accumulate_grad_batches,
            trainer.accumulate_grad_batches >= 1,
            "at least 1",
        ),
        ("trainer.num_nodes", trainer.num_nodes, trainer.num_nodes >= 1, "at least 1"),
        ("trainer.early_stopping_patience", patience, patience is None or patience >= 1, "at least 1, or null"),
        ("trainer.checkpoint_steps", steps, steps is None or steps >= 1, "at least 1, or null"),
        *(("seed", seed, 0 <= seed < 2**32, "in 0 ... 2**32 - 1") for seed in seeds),
        (
            "data.questions_per_clip",
            data.questions_per_clip,
            data.questions_per_clip == 1 or not model.released_expert_order,
            "1 with model.released_expert_order",
        ),
    ]
    _refuse(checks)


def check_model_numbers(model: ModelConfig) -> None:
    """Tells numbers of a model with which it could be built, and would not run.

    Raises:
        UserError: a number is out of its range.
    """
    checks: list[tuple[str, object, bool, str]] = [
        ("model.dim", model.dim, model.dim >= 1, "at least 1"),
        ("model.seconds_per_frame", model.seconds_per_frame, model.seconds_per_frame >= 1, "at least 1"),
        ("model.top_frames", model.top_frames, model.top_frames >= 1, "at least 1"),
        (
            "model.released_expert_order",
            model.released_expert_order,
            not model.released_expert_order or (model.architecture, model.pooling) == ("qa_tiger", "gaussian"),
            "false but for QA-TIGER with Gaussian pooling",
        ),
        ("model.feature_noise", model.feature_noise, 0 <= model.feature_noise < inf, "at least 0, and finite"),
    ]
    _refuse(checks)


def _refuse(checks: Sequence[tuple[str, object, bool, str]]) -> None:
    """Each a name, its value, whether it is right, and what is wanted."""
    for name, value, right, wanted in checks:
        if not right:
            raise UserError(f"{name} must be {wanted}, got {value}")
