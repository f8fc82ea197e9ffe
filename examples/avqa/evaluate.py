"""The `test` command: a trained model's answers, its table, and the text-only baselines beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from tqdm import tqdm

from .annotations import Question, Vocabulary
from .baselines import MostFrequentAnswer
from .config import DataConfig
from .data import Batch
from .errors import UserError
from .files import write_text
from .fit import SETTINGS, load_model, load_settings
from .module import AVQAModule
from .prepare import Prepared, prepare
from .results import AccuracyTable, Prediction, accuracy_table, render, to_markdown, write_predictions, write_tables

TEXT_ONLY = "most frequent answer to the text"


def evaluate(
    run: Path,
    split: str = "test",
    checkpoint: str = "best",
    annotations: Path | None = None,
    features: Path | None = None,
    answers: Path | None = None,
    out: Path | None = None,
) -> None:
    """Test a trained model: accuracy by question type, modality and in total, beside the text alone.

    Writes predictions.csv (one row a question), table.json and table.md.

    Args:
        run: folder that `fit` wrote.
        split: "test", "val" or "train", as named in the run's settings.
        checkpoint: "best" or "last".
        annotations: other annotations to test on, instead of the run's.
        features: other feature folder, instead of the run's.
        answers: answer index of the other annotations; it must hold the same answers in the same order.
        out: where the results go; by default RUN/SPLIT.
    """
    if split not in ("train", "val", "test"):
        raise UserError(f"split must be train, val or test, got {split!r}")
    module = load_model(run, checkpoint)
    data = load_data_config(run)
    others: dict[str, Any] = {split: annotations, "features": features, "answers": answers}
    data = replace(data, **{name: path for name, path in others.items() if path is not None})
    if getattr(data, split) is None:
        raise UserError(f"split: the run was made without {split} annotations; name them with --annotations FILE")
    prepared = prepare(data, sorted({"train", split}), features_of=[split])
    check_vocabulary(module, prepared.vocabulary)
    if module.feature_dims != prepared.feature_dims:
        raise UserError(f"features: {run} was trained without features; leave the option out, or name another run")
    predictions = predict(module, prepared, split, data)
    questions = prepared.questions[split]
    text_only = accuracy_table(questions, text_only_scores(prepared, split), topics=_topics(questions))
    systems = {"QA-TIGER": table(predictions), TEXT_ONLY: text_only}
    out = out or run / split
    write_predictions(out / "predictions.csv", predictions)
    write_tables(out / "table.json", systems)
    write_text(out / "table.md", to_markdown(systems))
    Console().print(render(systems))
    ours, theirs = (
        sum(row.accuracy or 0.0 for row in system.rows if row.kind == "total") for system in systems.values()
    )
    print(f"{100 * (ours - theirs):+.2f} points against the text alone")
    print(f"Results: {out / 'table.md'}, {out / 'table.json'}, {out / 'predictions.csv'}")


def load_data_config(run: Path) -> DataConfig:
    """The `DataConfig` that a run was made with.

    Raises:
        UserError: the folder is no run.
    """
    paths = ("answers", "train", "val", "test", "features", "questions_cache")
    settings = load_settings(run)["data"]
    fields: dict[str, Any] = {
        name: Path(value) if name in paths and value is not None else value for name, value in settings.items()
    }
    try:
        return DataConfig(**fields)
    except TypeError as error:
        raise UserError(f"{run / SETTINGS} is of another version of this program ({error}); train again") from error


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
    loader = prepared.for_model(module.config).evaluation_loader(split, data, module.config.released_expert_order)
    module = module.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    probabilities = torch.zeros(len(questions), len(module.answers))
    batch: Batch
    for number, batch in enumerate(tqdm(loader, desc=f"test on {split}", unit="batch", disable=not bar)):
        numbers, scores = module.predict_step(batch.to(module.device), number)
        probabilities[numbers.cpu()] = scores.float().cpu()
    best, index = probabilities.max(dim=-1)
    return [
        Prediction(question, module.answers[place], probability)
        for question, place, probability in zip(questions, index.tolist(), best.tolist(), strict=True)
    ]


def table(predictions: Sequence[Prediction]) -> AccuracyTable:
    """Accuracy by type, modality, in total, and by topic where the annotations name topics."""
    questions = [prediction.question for prediction in predictions]
    return accuracy_table(questions, [prediction.score for prediction in predictions], topics=_topics(questions))


def text_only_scores(prepared: Prepared, split: str) -> list[float]:
    """What the most frequent training answer to each question's text scores, 0 or 1 each."""
    questions = prepared.questions[split]
    predicted = MostFrequentAnswer.fit(prepared.questions["train"]).predict(questions)
    return [float(answer == question.answer) for answer, question in zip(predicted, questions, strict=True)]


def _topics(questions: Sequence[Question]) -> bool:
    return any(question.topic for question in questions)
