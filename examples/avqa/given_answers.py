"""Answers that another program gave, as CSV or JSON, matched with a data set's questions: one to each."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .annotations import Question, read_json
from .errors import UserError
from .first_few import first_few

COLUMNS = ("prediction", "predicted")
"""Either may name an answer."""
_WANTED = 'CSV with the columns question_id and prediction, or JSON: {"ID": "answer", ...} or a list of such rows'


def read_answers(path: Path) -> list[tuple[str, str]]:
    """(question id, answer) pairs in the file's order, an id as often as it occurs.

    Args:
        path: CSV with the columns `question_id` and `prediction`, or `predicted` as in our own predictions.csv;
            or .json: an object of answers by id, or a list of objects with those two keys.

    Raises:
        UserError: the file cannot be read, or a row lacks an id or an answer.
    """
    if path.suffix.lower() == ".json":
        rows = enumerate(_json_rows(path), start=1)
        return [_pair(f"{path}: row {number}", row) for number, row in rows]
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            return [_pair(f"{path}, line {reader.line_num}", row) for row in reader]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; it should hold {_WANTED}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not CSV in UTF-8 ({error}); it should hold {_WANTED}") from None


def matched(
    path: Path, pairs: Sequence[tuple[str, str]], questions: Sequence[Question], given: Sequence[str]
) -> list[str]:
    """The answer to each question, in the questions' order; questions that share an id take its answers in order.

    Args:
        path: the file, for messages.
        pairs: what `read_answers` gave.
        questions: what was asked.
        given: the id that the annotations give each question, "" where they give none.

    Raises:
        UserError: a question without an answer or with several, or an answer to none of the questions.
    """
    own = [question.question_id for question in questions]
    asked = [shared or unique for shared, unique in zip(given, own, strict=True)]
    renamed = set(own) - set(asked)
    if any(question_id in renamed for question_id, _ in pairs):
        # Our own files give every question a name of its own.
        asked = own
    counts, wanted = Counter(question_id for question_id, _ in pairs), Counter(asked)
    faults = (
        ("lacks an answer to", [question_id for question_id in wanted if question_id not in counts]),
        ("answers more than once", [name for name, count in counts.items() if count > 1 == wanted[name]]),
        ("answers unknown", [question_id for question_id in counts if question_id not in wanted]),
        (
            "has not as many answers as the annotations have records of",
            [name for name, count in wanted.items() if count > 1 and counts[name] not in (0, count)],
        ),
    )
    if told := "; ".join(f"{fault} {_few(names)}" for fault, names in faults if names):
        raise UserError(f"{path} {told}; every question of the annotations wants one answer")
    answers: dict[str, list[str]] = {}
    for question_id, answer in reversed(pairs):
        answers.setdefault(question_id, []).append(answer)
    return [answers[question_id].pop() for question_id in asked]


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    value = read_json(path, _WANTED)
    if isinstance(value, dict):
        yield from ({"question_id": question_id, "prediction": answer} for question_id, answer in value.items())
    elif isinstance(value, list) and all(isinstance(row, dict) for row in value):
        yield from value
    else:
        raise UserError(f"{path} holds no answers; it should hold {_WANTED}")


def _pair(place: str, row: dict[Any, Any]) -> tuple[str, str]:
    question_id = row.get("question_id")
    # As annotations give them: a whole number may be written as one, or with a point.
    if isinstance(question_id, float) and question_id.is_integer():
        question_id = int(question_id)
    if question_id in (None, "") or not isinstance(question_id, str | int):
        raise UserError(f"{place} has no question_id; it wants {_WANTED}")
    answer = next((row[column] for column in COLUMNS if row.get(column)), None)
    if not isinstance(answer, str):
        raise UserError(f"{place} has no answer in words; it wants {_WANTED}")
    return str(question_id), answer.strip()


def _few(question_ids: Sequence[str]) -> str:
    noun = "question" if len(question_ids) == 1 else f"{len(question_ids)} questions:"
    return f"{noun} {', '.join(first_few(question_ids))}"
