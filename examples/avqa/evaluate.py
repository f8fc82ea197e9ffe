"""The `evaluate` command: the table of answers that are in a file, ours or another program's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from .annotations import Question, given_ids, load_questions, load_vocabulary
from .errors import UserError
from .first_few import first_few
from .given_answers import matched, read_answers
from .predicting import scored, table
from .result_files import MARKDOWN, PREDICTIONS, TABLES, write_table
from .results import AccuracyTable, read_predictions, render


def evaluate(
    predictions: Path,
    annotations: Path | None = None,
    answers: Path | None = None,
    name: str = "predictions",
    out: Path | None = None,
) -> None:
    """Make the table of accuracies from a file of answers.

    A predictions.csv that `test` wrote is enough by itself. Answers of any other program are matched with the
    annotations: CSV with the columns question_id and prediction, or JSON, {"ID": "answer", ...} or a list of such
    rows. Every question must be answered exactly once. Where annotations give no question_id, the N-th record's is
    record-N. Where several records share a question_id, its answers are taken in the order of these records, from CSV
    or a list of rows; JSON {"ID": "answer", ...} cannot hold them.

    Args:
        predictions: the file, or the folder that holds predictions.csv.
        annotations: the questions in MUSIC-AVQA's JSON format, for answers of another program.
        answers: their answer index, a JSON file {"ans2ix": {...}}.
        name: what the table calls whoever answered.
        out: folder for table.json and table.md; by default the table is only printed.
    """
    if (annotations is None) != (answers is None):
        raise UserError("annotations and answers go together; give both, or neither for a predictions.csv of test")
    path = predictions / PREDICTIONS if predictions.is_dir() else predictions
    if annotations is None or answers is None:
        systems = {name: table(read_predictions(path))}
    else:
        systems = {name: _against(path, annotations, answers)}
    Console().print(render(systems))
    if out is not None:
        write_table(out, systems)
        print(f"Results: {out / MARKDOWN}, {out / TABLES}")


def _against(path: Path, annotations: Path, answers: Path) -> AccuracyTable:
    """The table of a file's answers to these annotations."""
    vocabulary = load_vocabulary(answers)
    questions = load_questions(annotations, vocabulary)
    given = matched(path, read_answers(path), questions, given_ids(annotations))
    outside = [(q, answer) for q, answer in zip(questions, given, strict=True) if answer not in vocabulary]
    if len(outside) == len(questions):
        raise UserError(
            f"{path}: no answer is one of the {len(vocabulary)} of {answers}, {_shown(outside)}; give them in words"
        )
    if outside:
        print(
            f"{len(outside)} answers are none of the {len(vocabulary)} of {answers} and count as wrong: "
            f"{_shown(outside)}"
        )
    return scored(questions, [float(answer == q.answer) for q, answer in zip(questions, given, strict=True)])


def _shown(outside: Sequence[tuple[Question, str]]) -> str:
    return ", ".join(first_few([f"{answer!r} to question {question.question_id}" for question, answer in outside], 3))
