"""Annotations and the answer index."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from examples.avqa.annotations import (
    QUESTION_TYPES,
    Question,
    Vocabulary,
    given_ids,
    load_questions,
    load_vocabulary,
    read_questions,
)
from examples.avqa.errors import UserError
from examples.avqa.prompts import declarative
from examples.avqa.results import Prediction, read_predictions, write_predictions
from tests.stress.fuzz.json_changes import json_changed
from tests.stress.fuzz.judge import unclear
from tests.stress.fuzz.parser import Files, Parser

ANSWERS = ("yes", "no", "two", "flute", "left")
_RECORDS = [
    {
        "video_id": "00000093",
        "question_id": 0,
        "type": '["Audio-Visual", "Existential"]',
        "question_content": "Is there a voiceover?",
        "templ_values": "[]",
        "question_deleted": 0,
        "anser": "yes",
    },
    {
        "video_id": "-aB_c9dE0fG",
        "question_id": 1,
        "type": "['Audio', 'Counting']",
        "question_content": "How many <Object> sound in the <LR>?",
        "templ_values": "['flute', \"left\"]",
        "question_deleted": 0,
        "anser": "two",
        "topic": "counting",
    },
    {
        "video_id": 42,
        "question_id": 2.0,
        "type": ["Visual", "Location"],
        "question_content": "Where is it？",
        "templ_values": [],
        "answer": "left",
    },
]


def three_records() -> bytes:
    """A file of three records, in three habits."""
    return json.dumps(_RECORDS, ensure_ascii=False).encode()


def _seeds() -> tuple[Files, ...]:
    one = json.dumps(_RECORDS[:1], indent=1).encode()
    return {"train.json": three_records()}, {"train.json": b"\xef\xbb\xbf" + one}


def _read(folder: Path) -> None:
    path = folder / "train.json"
    every, faults = read_questions(path, None)
    assert all(unclear(fault, folder) == "" for fault in faults), "an unclear message among many"
    vocabulary = Vocabulary(ANSWERS, folder / "answer2idx.json")
    try:
        questions = load_questions(path, vocabulary)
    finally:
        _right(folder, every)
    assert len(questions) == len(given_ids(path))
    assert all(question.answer in vocabulary for question in questions)


def _right(folder: Path, questions: list[Question]) -> None:
    """They can be printed, asked in other words, written and read again; their videos are names of files."""
    for question in questions:
        assert (question.modality, question.kind) in QUESTION_TYPES
        assert "<" not in question.text or "<" in question.template + str(question)
        name = f"{question.video_id}.npy"
        assert Path(name).name == name
        assert len(name.encode()) < 256
        assert not (folder / name).exists()
        declarative(question).encode()
    assert len({question.question_id for question in questions}) == len(questions)
    given = [Prediction(question, "yes", 0.5) for question in questions]
    write_predictions(folder / "predictions.csv", given)
    assert read_predictions(folder / "predictions.csv") == given, "predictions that are written are read otherwise"


def _read_index(folder: Path) -> None:
    vocabulary = load_vocabulary(folder / "answer2idx.json")
    assert [vocabulary.index(answer) for answer in vocabulary.answers] == list(range(len(vocabulary)))
    "".join(vocabulary.answers).encode()
    refused_clearly(folder, lambda: vocabulary.index("no such answer"))


def refused_clearly(folder: Path, read: Callable[[], object]) -> None:
    """What is not there is told in one line."""
    try:
        read()
    except UserError as error:
        fault = unclear(str(error), folder)
    else:
        fault = "nothing is told"
    assert not fault


def _index_seeds() -> tuple[Files, ...]:
    table = {answer: number for number, answer in enumerate(ANSWERS)}
    return ({"answer2idx.json": json.dumps({"ans2ix": table, "max_que_len": 14}).encode()},)


PARSERS = (
    Parser("annotations", _seeds, {"train.json": (json_changed,)}, _read),
    Parser("answer-index", _index_seeds, {"answer2idx.json": (json_changed,)}, _read_index),
)
