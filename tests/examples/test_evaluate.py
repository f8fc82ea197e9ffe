"""`evaluate` makes the same table as `test` from its answers, and scores answers of other programs, one a question."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from examples.avqa import testing
from examples.avqa.cli import main
from examples.avqa.errors import UserError
from examples.avqa.evaluate import evaluate
from examples.avqa.results import read_predictions, read_tables
from tests.examples.tiny_run import TinyData

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def tested(tiny: TinyData, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tested") / "out"
    testing.test(tiny_run, out=out)
    return out


@pytest.fixture(scope="module")
def rows(tested: Path) -> Rows:
    """The tested answers, as little as another program would write of them."""
    predictions = read_predictions(tested / "predictions.csv")
    return [{"question_id": p.question.question_id, "prediction": p.predicted} for p in predictions]


def _csv(path: Path, rows: Rows) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_our_own_predictions_give_the_table_of_test(
    tested: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(tested), "--name", "QA-TIGER", "--out", str(tmp_path / "out")]) == 0
    assert read_tables(tmp_path / "out" / "table.json")["QA-TIGER"] == read_tables(tested / "table.json")["QA-TIGER"]
    assert "| **All** |" in (tmp_path / "out" / "table.md").read_text()
    assert "AV-Temp" in capsys.readouterr().out


WRITTEN: dict[str, Callable[[Path, Rows], Path]] = {
    "csv": lambda folder, rows: _csv(folder / "answers.csv", rows),
    "csv with more columns, in another order": lambda folder, rows: _csv(
        folder / "answers.csv",
        [{"score": 0.5, "predicted": r["prediction"], "question_id": r["question_id"]} for r in rows],
    ),
    "list": lambda folder, rows: _json(folder / "answers.json", rows),
    "list of numbered": lambda folder, rows: _json(
        folder / "answers.json", [r | {"question_id": float(r["question_id"])} for r in rows]
    ),
    "object": lambda folder, rows: _json(
        folder / "answers.json", {r["question_id"]: r["prediction"] for r in reversed(rows)}
    ),
}


@pytest.mark.parametrize("form", WRITTEN)
def test_answers_of_other_programs_give_the_same_table(
    tiny: TinyData, tested: Path, rows: Rows, tmp_path: Path, form: str
) -> None:
    path = WRITTEN[form](tmp_path, rows)
    evaluate(path, tiny.config.test, tiny.config.answers, name="QA-TIGER", out=tmp_path)
    assert read_tables(tmp_path / "table.json")["QA-TIGER"] == read_tables(tested / "table.json")["QA-TIGER"]


def _refused(tiny: TinyData, path: Path, message: str) -> None:
    with pytest.raises(UserError, match=message) as told:
        evaluate(path, tiny.config.test, tiny.config.answers, out=path.parent / "out")
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)
    assert not (path.parent / "out").exists()


def test_every_question_wants_one_answer(tiny: TinyData, rows: Rows, tmp_path: Path) -> None:
    first, second = (row["question_id"] for row in rows[:2])
    _refused(tiny, _csv(tmp_path / "a.csv", rows[1:]), f"lacks an answer to question {first};")
    _refused(tiny, _csv(tmp_path / "b.csv", [*rows, rows[1]]), f"answers more than once question {second};")
    _refused(tiny, _csv(tmp_path / "c.csv", [*rows, rows[1] | {"question_id": 999}]), "answers unknown question 999;")
    _refused(tiny, _csv(tmp_path / "d.csv", rows[:2]), r"lacks an answer to 9 questions: (\d+, ){5}\.\.\. and 4 more;")
    both = [rows[1], *rows[1:], rows[0] | {"question_id": "x"}]
    _refused(tiny, _csv(tmp_path / "e.csv", both), f"lacks .* {first}; answers more .* {second}; answers unknown .* x;")


@pytest.fixture
def repeated(own: TinyData) -> TinyData:
    """The first three questions share an id, as rephrasings of one do."""
    path = own.root / "test.json"
    records = json.loads(path.read_text())
    for record in records[:3]:
        record["question_id"] = 7
    path.write_text(json.dumps(records))
    return own


@pytest.mark.parametrize("by_id", [False, True])
def test_questions_that_share_an_id_take_its_answers_in_order(
    repeated: TinyData, tested: Path, rows: Rows, tmp_path: Path, by_id: bool
) -> None:
    shared = [row | {"question_id": 7} if place < 3 else row for place, row in enumerate(rows)]
    if by_id:
        # The order of other ids does not matter.
        shared = [*reversed(shared[3:]), *shared[:3]]
    evaluate(_csv(tmp_path / "a.csv", shared), repeated.config.test, repeated.config.answers, "QA-TIGER", tmp_path)
    assert read_tables(tmp_path / "table.json")["QA-TIGER"] == read_tables(tested / "table.json")["QA-TIGER"]


def test_our_own_names_of_questions_that_share_an_id_are_known(
    repeated: TinyData, tested: Path, rows: Rows, tmp_path: Path
) -> None:
    names = ["7", "record-2", "record-3"]
    named = [row | {"question_id": name} for row, name in zip(rows, names, strict=False)] + rows[3:]
    evaluate(_csv(tmp_path / "a.csv", named), repeated.config.test, repeated.config.answers, "QA-TIGER", tmp_path)
    assert read_tables(tmp_path / "table.json")["QA-TIGER"] == read_tables(tested / "table.json")["QA-TIGER"]


def test_answers_that_are_too_few_or_many_for_a_shared_id_are_told(
    repeated: TinyData, rows: Rows, tmp_path: Path
) -> None:
    shared = [row | {"question_id": 7} if place < 3 else row for place, row in enumerate(rows)]
    message = "has not as many answers as the annotations have records of question 7;"
    for name, given in (("few", shared[1:]), ("many", [shared[0], *shared])):
        _refused(repeated, _csv(tmp_path / f"{name}.csv", given), message)
    keyed = {row["question_id"]: row["prediction"] for row in shared}
    _refused(repeated, _json(tmp_path / "keyed.json", keyed), message)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "id,prediction\n1,yes\n", "line 2 has no question_id"),
        ("a.csv", "question_id,answer\n1,yes\n", "line 2 has no answer in words"),
        ("a.csv", "question_id,prediction\n1,\n", "line 2 has no answer in words"),
        ("a.csv", "question_id,prediction\n", "lacks an answer to 11 questions"),
        ("a.json", "[3]", "holds no answers"),
        ("a.json", "{", "is not JSON"),
        ("a.json", '{"1": 3}', "row 1 has no answer in words"),
        ("a.json", '[{"prediction": "yes"}]', "row 1 has no question_id"),
    ],
)
def test_files_without_answers_are_named(tiny: TinyData, tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    _refused(tiny, tmp_path / name, message)


def test_a_file_that_is_not_there(tiny: TinyData, tmp_path: Path) -> None:
    _refused(tiny, tmp_path / "a.csv", "cannot be read")
    with pytest.raises(UserError, match=r"a\.csv cannot be read"):
        evaluate(tmp_path / "a.csv")


def test_answers_outside_the_vocabulary_count_as_wrong_and_are_told(
    tiny: TinyData, rows: Rows, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = [row | {"prediction": "two instruments"} if place < 4 else row for place, row in enumerate(rows)]
    evaluate(_csv(tmp_path / "a.csv", changed), tiny.config.test, tiny.config.answers, out=tmp_path / "out")
    right = json.loads(tiny.root.joinpath("test.json").read_text())
    scores = [row["prediction"] == record["anser"] for row, record in zip(changed, right, strict=True)]
    assert read_tables(tmp_path / "out" / "table.json")["predictions"].total == pytest.approx(sum(scores) / len(scores))
    shown = capsys.readouterr().out
    assert "4 answers are none of the 5" in shown
    assert "'two instruments' to question" in shown


def test_indices_in_place_of_words_are_refused(tiny: TinyData, rows: Rows, tmp_path: Path) -> None:
    numbers = [row | {"prediction": "3"} for row in rows]
    _refused(
        tiny, _csv(tmp_path / "a.csv", numbers), r"no answer is one of the 5 .* '3' to question .* give them in words"
    )


def test_annotations_and_answer_index_go_together(tiny: TinyData, tested: Path) -> None:
    for one in ({"annotations": tiny.config.test}, {"answers": tiny.config.answers}):
        with pytest.raises(UserError, match="annotations and answers go together"):
            evaluate(tested, **one)
