"""A trained model over a test split, question by question: where its mixtures looked, and what it answered.

B clips, Q questions of one clip, K experts in use, T frames, E experts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from examples.avqa.annotations import Question
from examples.avqa.config import DataConfig
from examples.avqa.errors import UserError
from examples.avqa.fit import load_model
from examples.avqa.module import AVQAModule
from examples.avqa.predicting import check_vocabulary, text_only_scores
from examples.avqa.prepare import Prepared, prepare
from examples.avqa.run_data import load_data_config
from gaussian_moe import Routing

from .record import MIXTURES

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """One mixture's look at one clip for one question."""

    indices: npt.NDArray[np.int64]
    """[K], experts by falling gate."""
    gates: Array
    """[K]"""
    centers: Array
    """[K], fraction of the clip."""
    stds: Array
    """[K], fraction of the clip."""
    timeline: Array
    """[T], `sum_k p_k g_kt` of the clip's real frames."""


@dataclass(frozen=True)
class Watched:
    """One question, its answer, and where the model looked."""

    question: Question
    predicted: str
    probability: float
    views: dict[str, View]
    """By mixture."""

    @property
    def is_right(self) -> bool:
        """Whether the answer is right."""
        return self.predicted == self.question.answer


@dataclass(frozen=True)
class Session:
    """A split as a model saw it."""

    watched: Sequence[Watched]
    experts: int
    text_only: float
    """Accuracy of the most frequent training answer to the same text."""
    annotations: Path


def watch(run: Path) -> Session:
    """Runs a run's best model over its test split.

    Raises:
        UserError: the folder is no run, its data is not there, or its model has no Gaussians.
    """
    module, data = load_model(run), load_data_config(run)
    if module.config.architecture != "qa_tiger" or module.config.pooling != "gaussian":
        raise UserError(f"run: {run} has no Gaussian experts to draw; name a run of QA-TIGER with pooling gaussian")
    if data.test is None:
        raise UserError(f"run: {run} was made without test annotations; train with --data.test FILE")
    prepared = prepare(data, ["train", "test"], features_of=["test"])
    check_vocabulary(module, prepared.vocabulary)
    watched = _watched(module, prepared, data)
    scores = text_only_scores(prepared, "test")
    return Session(watched, module.config.num_experts, sum(scores) / len(scores), data.test)


@torch.inference_mode()
def _watched(module: AVQAModule, prepared: Prepared, data: DataConfig) -> list[Watched]:
    questions = prepared.questions["test"]
    found: dict[int, Watched] = {}
    loader = prepared.evaluation_loader("test", data, module.config.released_expert_order, alone=True)
    module = module.eval().to("cuda" if prepared.for_gpu else "cpu")
    for batch in tqdm(loader, desc="routing on test", unit="batch"):
        batch = batch.to(module.device)
        output = module(batch)
        scores = output.logits.softmax(-1).flatten(0, 1).double().cpu()
        frames = _real_frames(batch.padding_mask, output.audio_routing, module.config.seconds_per_frame)
        numbers = batch.numbers.flatten().tolist()
        for row, number in enumerate(numbers):
            if number < 0:
                continue
            real = frames[row // batch.numbers.shape[1]]
            routings = (output.audio_routing, output.visual_routing)
            views = {name: _view(part, row, real) for name, part in zip(MIXTURES, routings, strict=True)}
            probability, place = scores[row].max(-1)
            found[number] = Watched(questions[number], module.answers[int(place)], float(probability), views)
    return [found[number] for number in range(len(questions))]


def _real_frames(padding: torch.Tensor | None, routing: Routing, seconds: int) -> list[int]:
    """How many of the model's frames of each clip are no padding: it averages over each `seconds` frames."""
    assert routing.weights is not None
    if padding is None:
        return [routing.weights.shape[-1]] * len(routing.weights)
    return [int(count) for count in (~padding[:, ::seconds]).sum(-1)]


def _view(routing: Routing, row: int, frames: int) -> View:
    assert routing.weights is not None
    gates, centers, stds = (part[row].double().cpu().numpy() for part in (routing.gates, routing.centers, routing.stds))
    weights = routing.weights[row, :, :frames].double().cpu().numpy()
    return View(routing.indices[row].cpu().numpy(), gates, centers, stds, gates @ weights)
