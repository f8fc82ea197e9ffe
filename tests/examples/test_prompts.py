"""Declarative prompts: one for each of MUSIC-AVQA's templates, a rule for anyone's questions."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.avqa.annotations import Question, load_questions, load_vocabulary, question_text
from examples.avqa.concert.wording import TEMPLATES
from examples.avqa.prompts import _PATTERNS, _PROMPTS, declarative, declarative_text

ANNOTATIONS = Path(__file__).parents[3] / "shared" / "annots" / "test.json"


def _question(template: str, text: str) -> Question:
    return Question("v", "1", "Audio", "Counting", text, template, "yes", "")


@pytest.mark.parametrize(
    ("template", "text", "prompt"),
    [
        ("Is there a <Object> sound?", "Is there a acoustic_guitar sound", "the sound of a acoustic_guitar"),
        (
            "How many sounding <Object> in the video？",
            "How many sounding banjo in the video",
            "every banjo that sounds",
        ),
        (
            "Is the <Object> on the <LR> louder than the <Object> on the <LR>?",
            "Is the flute on the left louder than the tuba on the right",
            "the flute on the left and the tuba on the right sound, one louder than the other",
        ),
        ("Which <Object> makes the sound <FL>? ", "Which violin makes the sound last", "the violin that sounds last"),
    ],
)
def test_a_template_has_its_own_prompt(template: str, text: str, prompt: str) -> None:
    assert declarative(_question(template, text)) == prompt


def test_every_template_fills_every_one_of_its_values_into_its_prompt() -> None:
    for template, prompt in _PROMPTS.items():
        words = [word for word in template.split(" ") if "<" in word]
        values = [f"value{number}" for number in range(len(words))]
        remaining = iter(values)
        text = " ".join(next(remaining) if "<" in word else word for word in template.split(" "))
        filled = declarative(_question(template, text))
        assert filled == prompt.format(*values)
        assert all(value in filled for value in values)
        # Where only the text is known, as in `answer`, a model gets the prompt that it was trained on.
        assert declarative_text(text) == filled


@pytest.mark.skipif(not ANNOTATIONS.is_file(), reason="MUSIC-AVQA's annotations are not in ../shared/annots")
def test_every_question_of_music_avqa_has_one_prompt() -> None:
    questions = load_questions(ANNOTATIONS, load_vocabulary(ANNOTATIONS.with_name("answer2idx.json")))
    texts = {question.text: question for question in questions}
    assert len(texts) > 1000
    for text, question in texts.items():
        assert declarative_text(text) == declarative(question)


def test_the_concerts_questions_are_none_of_the_templates() -> None:
    for template in TEMPLATES:
        words = question_text(template.text).split(" ")
        text = " ".join("value" if "<" in word else word for word in words)
        assert not any(pattern.fullmatch(text) for pattern in _PATTERNS.values())


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("How many dogs bark", "all dogs bark"),
        ("Which instrument is the last to come in", "the instrument that is the last to come in"),
        ("Can a flute be heard", "a flute be heard"),
        ("Is there a dog", "a dog"),
        ("Tell me more", "Tell me more"),
    ],
)
def test_other_questions_go_by_their_first_words(text: str, prompt: str) -> None:
    assert declarative_text(text) == prompt
    assert declarative(_question(text, text)) == prompt
