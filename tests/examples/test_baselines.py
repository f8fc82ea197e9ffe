"""The most frequent training answer: what it counts by, what it falls back on, how it settles ties."""

from __future__ import annotations

import pytest

from examples.avqa.annotations import Question
from examples.avqa.baselines import Key, MostFrequentAnswer


def ask(text: str, answer: str = "", *, template: str = "", kind: str = "Counting") -> Question:
    return Question("1", "1", "Audio-Visual", kind, text, template, answer, "")


TRAIN = [
    ask("how many tubas", "two", template="how many <Object>"),
    ask("how many drums", "one", template="how many <Object>"),
    ask("how many drums", "one", template="how many <Object>"),
    *[ask("count all", "six", template="count all")] * 4,
    *[ask("is it there", "yes", template="is it there", kind="Existential")] * 9,
]

TUBAS = ask("how many tubas", template="how many <Object>")
FLUTES = ask("how many flutes", template="how many <Object>")
SOUNDS = ask("how many sounds", template="how many sounds")
FIRST = ask("which is first", template="which is first", kind="Temporal")


@pytest.mark.parametrize(
    ("key", "answers"),
    [
        ("text", ["two", "one", "six", "yes"]),
        ("template", ["one", "one", "six", "yes"]),
        ("type", ["six", "six", "six", "yes"]),
        ("all", ["yes", "yes", "yes", "yes"]),
    ],
)
def test_like_questions_are_narrowed_by_key_and_widened_where_unseen(key: Key, answers: list[str]) -> None:
    assert MostFrequentAnswer.fit(TRAIN, key=key).predict([TUBAS, FLUTES, SOUNDS, FIRST]) == answers


def test_text_is_the_default() -> None:
    assert MostFrequentAnswer.fit(TRAIN) == MostFrequentAnswer.fit(TRAIN, key="text")


def test_of_equally_frequent_answers_the_first_met_is_given() -> None:
    train = [ask("q", answer) for answer in ("three", "two", "one", "two", "three")]
    assert MostFrequentAnswer.fit(train).predict([ask("q")]) == ["three"]
    assert MostFrequentAnswer.fit(train[::-1]).predict([ask("q")]) == ["three"]
    assert MostFrequentAnswer.fit(train[1:4] + train[:1] * 2).predict([ask("q")]) == ["two"]


def test_the_asked_question_is_judged_by_its_text_not_its_answer() -> None:
    assert MostFrequentAnswer.fit(TRAIN).predict([ask("how many tubas", "nine", template="x")]) == ["two"]


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="train_questions is empty"):
        MostFrequentAnswer.fit([])
    with pytest.raises(ValueError, match="key is 'topic'; it must be one of text, template, type, all"):
        MostFrequentAnswer.fit(TRAIN, key="topic")  # type: ignore[arg-type]  # the fault under test
