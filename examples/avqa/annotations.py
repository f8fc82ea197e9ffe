"""Questions and answers as MUSIC-AVQA publishes them: v1, v2.0 and -R, with the habits of each release."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from examples.avqa.errors import UserError
from examples.avqa.json_text import decoded

QUESTION_TYPES: Mapping[tuple[str, str], str] = {
    ("Audio", "Counting"): "A-Count",
    ("Audio", "Comparative"): "A-Comp",
    ("Visual", "Counting"): "V-Count",
    ("Visual", "Location"): "V-Loc",
    ("Audio-Visual", "Existential"): "AV-Exist",
    ("Audio-Visual", "Counting"): "AV-Count",
    ("Audio-Visual", "Location"): "AV-Loc",
    ("Audio-Visual", "Comparative"): "AV-Comp",
    ("Audio-Visual", "Temporal"): "AV-Temp",
}
"""(modality, kind) as the files spell them -> the short name of the papers' tables, in the papers' order."""

# The full-width mark ends one of v1's templates.
_FINAL_MARKS = ("?", "？", ".", "。")
# A list of strings as Python writes it, and one of these strings.
_PYTHON_STRING = r"""[uU]?(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")"""
_PYTHON_LIST = re.compile(rf"\[\s*(?:{_PYTHON_STRING}\s*,\s*)*(?:{_PYTHON_STRING}\s*)?\]")
_LONGEST_ID = 200
"""Bytes of a video's id: file systems take names of 255, and suffixes and temporary names come to it."""


@dataclass(frozen=True)
class Question:
    """One question about one video, with its template filled."""

    video_id: str
    question_id: str
    """Unique in its file; `record-<position>`, counted from 1, where the file gives none or repeats one."""
    modality: str
    kind: str
    text: str
    """The published question text: placeholders filled, without the final mark."""
    template: str
    """The question as the file words it, placeholders and mark included, stripped."""
    answer: str
    topic: str
    """Our own optional key `topic`: a finer division than the type; "" where the file has none."""

    @property
    def short_type(self) -> str:
        """The type's name in the papers' tables, such as `AV-Count`."""
        return QUESTION_TYPES[self.modality, self.kind]


@dataclass(frozen=True)
class Vocabulary:
    """The answers a model chooses from, in the order of their indices. It belongs to one data set."""

    answers: tuple[str, ...]
    path: Path
    """The file it was read from, for messages."""

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {answer: index for index, answer in enumerate(self.answers)}

    def __len__(self) -> int:
        return len(self.answers)

    def __contains__(self, answer: object) -> bool:
        return answer in self._indices

    def index(self, answer: str) -> int:
        """The index of `answer`.

        Raises:
            UserError: it is not one of the answers.
        """
        if answer not in self._indices:
            raise UserError(f"the answer {answer!r} is not among the {len(self)} answers of {self.path}")
        return self._indices[answer]


def load_vocabulary(path: Path) -> Vocabulary:
    """Reads an `answer2idx.json`: `{"ans2ix": {answer: index, ...}, ...}`.

    Raises:
        UserError: the file is missing, is not such a file, or its indices are not 0 … n−1, each once.
    """
    value = read_json(path, "the answer index")
    table = value.get("ans2ix") if isinstance(value, dict) else None
    if not isinstance(table, dict) or not table:
        raise UserError(
            f'{path} is not an answer index: it wants {{"ans2ix": {{answer: index, ...}}}}, '
            "as in the answer2idx.json of the data set"
        )
    answers: dict[int, str] = {}
    for answer, index in table.items():
        if type(index) is not int or not 0 <= index < len(table):
            raise UserError(
                f"{path}: the answer {answer!r} has the index {index!r}; "
                f"{len(table)} answers want the whole numbers 0 to {len(table) - 1}, each once"
            )
        if index in answers:
            raise UserError(f"{path}: the answers {answers[index]!r} and {answer!r} share the index {index}")
        answers[index] = answer
    return Vocabulary(tuple(answers[index] for index in range(len(answers))), path)


def load_questions(path: Path, vocabulary: Vocabulary) -> list[Question]:
    """Reads an annotation file, in its order, every record checked.

    Records marked `question_deleted` are kept: the published readers look at no such key, so the published
    accuracies count them.

    Raises:
        UserError: the file is missing or is not a list of such records, or an answer is not in `vocabulary`.
    """
    questions, faults = read_questions(path, vocabulary)
    if faults:
        raise UserError(faults[0])
    return questions


def read_questions(path: Path, vocabulary: Vocabulary | None) -> tuple[list[Question], list[str]]:
    """Reads an annotation file to its end: its sound records, and what is wrong with the others.

    Args:
        path: the file.
        vocabulary: the answers there may be; None takes any.

    Raises:
        UserError: the file is missing or is not a list.
    """
    records = _records(path)
    given = _given_ids(records)
    questions, faults = list[Question](), list[str]()
    for position, (record, question_id) in enumerate(zip(records, _unique_ids(given), strict=True), start=1):
        place = f"{path}: record {position}"
        try:
            if not isinstance(record, dict):
                raise UserError(f"{place} is {_json_name(record)}; it wants an object with video_id, type, ...")
            questions.append(_question(place, record, question_id, vocabulary))
        except UserError as error:
            faults.append(str(error))
    return questions, faults


def given_ids(path: Path) -> list[str]:
    """The question_id of each record as the file gives it, "" where it gives none; records may share one.

    Raises:
        UserError: as `read_questions`.
    """
    return _given_ids(_records(path))


def read_json(path: Path, what: str) -> Any:
    """The value in a JSON file; `what` says in messages what the file is for.

    Raises:
        UserError: no such file, a folder, not readable, not UTF-8, not JSON (with line and column), nested too deeply,
            or with numbers or text that are none.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; it should hold {what}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; name the file in it that holds {what}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}); it should hold {what}") from None
    except ValueError:
        raise UserError(f"{path} is no name of a file; it should hold {what}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; it should hold {what}") from None
    try:
        return decoded(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise UserError(f"{path} is not JSON: {error.msg} at {where}; it should hold {what}") from None
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {error}; it should hold {what}") from None


def question_text(question: str) -> str:
    """A question as it is encoded: without surrounding space and without its final mark.

    >>> question_text("Which instrument comes in first? ")
    'Which instrument comes in first'
    """
    return question.strip().removesuffix(_final_mark(question.strip())).rstrip()


def _final_mark(text: str) -> str:
    return next(filter(text.endswith, _FINAL_MARKS), "")


def _question(place: str, record: dict[str, Any], question_id: str, vocabulary: Vocabulary | None) -> Question:
    modality, kind = _type(place, _required(place, record, "type"))
    template = _string(place, "question_content", _required(place, record, "question_content")).strip()
    values = _strings(_required(place, record, "templ_values"))
    if values is None:
        raise UserError(
            f"{place} has the templ_values {record['templ_values']!r}; "
            "it wants a list of strings, or such a list as a string"
        )
    # `anser` is the published spelling.
    key = "answer" if "answer" in record and "anser" not in record else "anser"
    answer = _string(place, key, _required(place, record, key))
    if vocabulary is not None and answer not in vocabulary:
        raise UserError(
            f"{place} has the answer {answer!r}, which is not among the {len(vocabulary)} answers of "
            f"{vocabulary.path}; give the answer index of the same data set"
        )
    return Question(
        video_id=_video_id(place, _required(place, record, "video_id")),
        question_id=question_id,
        modality=modality,
        kind=kind,
        text=_fill(place, template, values),
        template=template,
        answer=answer,
        topic=_string(place, "topic", record.get("topic", "")),
    )


def _required(place: str, record: dict[str, Any], key: str) -> Any:
    if key not in record:
        raise UserError(f"{place} lacks the key {key!r}; it holds {', '.join(record) or 'nothing'}")
    return record[key]


def _string(place: str, key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise UserError(f"{place} has {_json_name(value)} as {key}; it wants a string")
    if "\0" in value:
        raise UserError(f"{place} has a NUL character in {key}, which no table can hold")
    return value


def _type(place: str, value: Any) -> tuple[str, str]:
    names = _strings(value)
    if names is None or len(names) != 2:
        raise UserError(f'{place} has the type {value!r}; it wants two names, such as \'["Audio", "Counting"]\'')
    modality, kind = names
    if (modality, kind) not in QUESTION_TYPES:
        known = ", ".join(f"{m} {k}" for m, k in QUESTION_TYPES)
        raise UserError(f"{place} has the unknown type {modality} {kind}; known are {known}")
    return modality, kind


def _strings(value: Any) -> list[str] | None:
    """A list of strings given as such, as JSON, or as Python's repr (the published readers evaluate it)."""
    if isinstance(value, str):
        try:
            value = decoded(value)
        except ValueError:
            value = _python_strings(value.strip())
    if not isinstance(value, list) or not all(isinstance(item, str) and "\0" not in item for item in value):
        return None
    return value


def _python_strings(text: str) -> list[str] | None:
    """A list of strings as Python writes it; other expressions can exhaust Python's parser, and are not evaluated."""
    if not _PYTHON_LIST.fullmatch(text):
        return None
    try:
        with warnings.catch_warnings():
            # Of a backslash before any letter.
            warnings.simplefilter("ignore")
            values: list[str] = [ast.literal_eval(part) for part in re.findall(_PYTHON_STRING, text)]
        "".join(values).encode()
    except (ValueError, SyntaxError):
        return None
    return values


def _video_id(place: str, value: Any) -> str:
    if type(value) is int:
        value = str(value)
    if not isinstance(value, str):
        raise UserError(f"{place} has {_json_name(value)} as video_id; it wants a string or a whole number")
    # Features and videos are looked up as <folder>/<video_id>.<suffix>.
    if value.strip(". ") == "" or "/" in value or "\\" in value or not value.isprintable():
        raise UserError(f"{place} has the video_id {value!r}, which cannot be a file's name")
    if len(value.encode()) > _LONGEST_ID:
        raise UserError(
            f"{place} has a video_id of {len(value.encode())} bytes; a file's name has {_LONGEST_ID} at most"
        )
    return value


def _fill(place: str, template: str, values: list[str]) -> str:
    words = question_text(template).split(" ")
    if words == [""]:
        raise UserError(f"{place} has the question_content {template!r}; it wants a question")
    placeholders = sum("<" in word for word in words)
    if placeholders != len(values):
        raise UserError(
            f"{place} has {placeholders} placeholders in {template!r}, but {len(values)} templ_values "
            f"{values}; it wants one value for each placeholder"
        )
    remaining = iter(values)
    return " ".join(next(remaining) if "<" in word else word for word in words)


def _records(path: Path) -> list[Any]:
    records = read_json(path, "the annotations")
    if not isinstance(records, list):
        raise UserError(f"{path} holds {_json_name(records)}; annotations are a list of records")
    if not records:
        raise UserError(f"{path} holds an empty list; annotations want at least one record")
    return records


def _given_ids(records: list[Any]) -> list[str]:
    return [_id_name(record.get("question_id")) if isinstance(record, dict) else "" for record in records]


def _unique_ids(names: list[str]) -> list[str]:
    given_names = set(names)
    used = {""}
    unique = []
    for position, name in enumerate(names, start=1):
        if name in used:
            name = f"record-{position}"
            # A file may hold that very string further on, and keeps it.
            while name in used or name in given_names:
                name += "-again"
        used.add(name)
        unique.append(name)
    return unique


def _id_name(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) or type(value) is int:
        return str(value)
    return ""


def _json_name(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
