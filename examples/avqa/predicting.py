"""A model's answers to a split, its table, and the text-only baseline to hold beside it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tqdm import tqdm

from .annotations import Question, Vocabulary
from .baselines import MostFrequentAnswer
from .config import DataConfig
from .data import Batch
from .errors import UserError
from .module import AVQAModule
from .prepare import Prepared
from .results import AccuracyTable, Prediction, accuracy_table

TEXT_ONLY = "most frequent answer to the text"


def check_vocabulary(module: AVQAModule, vocabulary: Vocabulary) -> None:
    """Raises UserError where the answers are not those that the model was trained with, in their order."""
    if list(vocabulary.answers) != module.answers:
        raise UserError(
            f"{vocabulary.path}: not the answer index this model was trained with "
            f"({len(vocabulary)} answers here, {len(module.answers)} there, or another order)"
        )


@torch.inference_mode()
def predict(module: AVQAModule, prepared: Prepared, split: str, data: DataConfig, bar: bool = True) -> list[Prediction]:
    """One prediction a question, in the annotations' order; a clip is read once for all its questions."""
    questions = prepared.questions[split]
    order = module.config.released_expert_order
    loader = prepared.for_model(module.config).evaluation_loader(split, data, order, alone=True)
    module = module.eval().to("cuda" if prepared.for_gpu else "cpu")
    probabilities = torch.full((len(questions), len(module.answers)), torch.nan)
    batch: Batch
    for number, batch in enumerate(tqdm(loader, desc=f"test on {split}", unit="batch", disable=not bar)):
        numbers, scores = module.predict_step(batch.to(module.device), number)
        probabilities[numbers.cpu()] = scores.float().cpu()
    if bool(probabilities.isnan().any()):
        raise UserError(f"{split}: some questions got no answer, or one that is no number; is the model trained?")
    best, index = probabilities.max(dim=-1)
    return [
        Prediction(question, module.answers[place], probability)
        for question, place, probability in zip(questions, index.tolist(), best.tolist(), strict=True)
    ]


def table(predictions: Sequence[Prediction]) -> AccuracyTable:
    """Accuracy by type, modality, in total, and by topic where the annotations name topics."""
    questions = [prediction.question for prediction in predictions]
    return scored(questions, [prediction.score for prediction in predictions])


def text_only_table(prepared: Prepared, split: str) -> AccuracyTable:
    """The table of `text_only_scores`."""
    return scored(prepared.questions[split], text_only_scores(prepared, split))


def text_only_scores(prepared: Prepared, split: str) -> list[float]:
    """What the most frequent training answer to each question's text scores, 0 or 1 each."""
    questions = prepared.questions[split]
    predicted = MostFrequentAnswer.fit(prepared.questions["train"]).predict(questions)
    return [float(answer == question.answer) for answer, question in zip(predicted, questions, strict=True)]


def scored(questions: Sequence[Question], scores: Sequence[float]) -> AccuracyTable:
    """The table of one score a question, with a row for each topic where the annotations name topics."""
    return accuracy_table(questions, scores, topics=any(question.topic for question in questions))
