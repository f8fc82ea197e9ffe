"""The published MUSIC-AVQA v1 files, where they lie beside the project: every record is read and filled."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from examples.avqa.annotations import load_questions, load_vocabulary
from examples.avqa.baselines import MostFrequentAnswer

FOLDER = Path(__file__).parents[3] / "shared" / "annots"

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="MUSIC-AVQA's annotations are not in ../shared/annots beside the project"
)


@pytest.mark.parametrize(("split", "count"), [("val", 4568), ("test", 9129), ("train_partial", 13950)])
def test_every_record_is_read(split: str, count: int) -> None:
    path = FOLDER / f"{split}.json"
    vocabulary = load_vocabulary(FOLDER / "answer2idx.json")
    questions = load_questions(path, vocabulary)
    records = json.loads(path.read_text(encoding="utf-8"))
    assert len(questions) == len(records) == count
    assert len({question.question_id for question in questions}) == count
    assert len({question.short_type for question in questions}) == 9
    for question, record in zip(questions, records, strict=True):
        assert not set(question.text) & set("<>?？")
        assert question.text == question.text.strip()
        words = question.text.split(" ")
        template = record["question_content"].strip().split(" ")
        assert len(words) == len(template)
        filled = [word for word, slot in zip(words, template, strict=True) if "<" in slot]
        assert filled == ast.literal_eval(record["templ_values"])
        assert vocabulary.answers[vocabulary.index(question.answer)] == record["anser"]
        assert question.video_id == record["video_id"]


def test_text_only_accuracies_of_the_partial_training_set() -> None:
    vocabulary = load_vocabulary(FOLDER / "answer2idx.json")
    train = load_questions(FOLDER / "train_partial.json", vocabulary)
    test = load_questions(FOLDER / "test.json", vocabulary)

    def right(baseline: MostFrequentAnswer) -> int:
        return sum(a == q.answer for q, a in zip(test, baseline.predict(test), strict=True))

    assert right(MostFrequentAnswer.fit(train, key="text")) == 4683  # 51.3 %
    assert right(MostFrequentAnswer.fit(train, key="type")) == 3092  # 33.9 %
