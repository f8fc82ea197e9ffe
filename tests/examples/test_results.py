"""Tables of accuracy by question type, and the files they and the predictions are kept in."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from rich.console import Console

from examples.avqa.annotations import QUESTION_TYPES, Question
from examples.avqa.errors import UserError
from examples.avqa.results import (
    AccuracyTable,
    Prediction,
    accuracy_table,
    read_predictions,
    read_tables,
    render,
    summarise,
    to_markdown,
    write_predictions,
    write_tables,
)

KEYS = {name: key for key, name in QUESTION_TYPES.items()}
ROWS = "A-Count A-Comp A-Avg V-Count V-Loc V-Avg AV-Exist AV-Count AV-Loc AV-Comp AV-Temp AV-Avg All"  # the papers'


def ask(short_type: str, *, topic: str = "", number: int = 1, text: str = "Is it") -> Question:
    modality, kind = KEYS[short_type]
    return Question(f"{number:08}", str(number), modality, kind, text, f"{text}?", "yes", topic)


QUESTIONS = [ask(name) for name in ("A-Count", "A-Count", "A-Count", "A-Comp", "AV-Temp", "AV-Loc")]


def table(*scores: float) -> AccuracyTable:
    return accuracy_table(QUESTIONS, scores)


def shown(systems: dict[str, AccuracyTable]) -> str:
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(render(systems))
    return capture.get()


def test_rows_stand_in_the_papers_order_and_averages_are_micro() -> None:
    result = table(1, 1, 0, 0, 1, 0.5)
    assert " ".join(row.name for row in result.rows) == ROWS
    assert result["A-Count"].accuracy == pytest.approx(2 / 3)
    assert result["A-Avg"].accuracy == 0.5  # not the mean of 2/3 and 0
    assert result["AV-Avg"].accuracy == 0.75
    assert result.total == pytest.approx(3.5 / 6)
    assert [result[name].count for name in ("A-Count", "A-Comp", "A-Avg", "AV-Avg", "All")] == [3, 1, 4, 2, 6]


def test_a_type_without_questions_keeps_its_row() -> None:
    row = table(1, 1, 0, 0, 1, 0)["V-Loc"]
    assert (row.count, row.accuracy, row.cell) == (0, None, "–")


def test_topics_follow_the_total() -> None:
    questions = [ask("AV-Temp", topic=topic) for topic in ("order", "All", "", "order")]
    result = accuracy_table(questions, [1, 1, 0, 0], topics=True)
    assert [(row.name, row.kind, row.count, row.accuracy) for row in result.rows[13:]] == [
        ("All", "topic", 1, 1.0),
        ("order", "topic", 2, 0.5),
    ]
    assert result.total == 0.5
    assert len(accuracy_table(questions, [1, 1, 0, 0]).rows) == 13


def test_wrong_scores() -> None:
    with pytest.raises(ValueError, match="scores has 1 entries; it must have one for each of 6 questions"):
        table(1)
    with pytest.raises(ValueError, match=r"scores holds 1\.5"):
        table(1, 1, 1, 1, 1, 1.5)
    with pytest.raises(ValueError, match="scores holds nan"):
        table(1, 1, 1, 1, 1, float("nan"))


def test_a_prediction_scores_when_it_is_the_answer() -> None:
    assert [Prediction(ask("A-Comp"), answer, 0.5).score for answer in ("yes", "no")] == [1.0, 0.0]


def test_runs_are_summed_up_by_mean_and_sample_deviation() -> None:
    summary = summarise([table(1, 1, 0, 0, 1, 1), table(1, 0, 0, 0, 1, 1), table(0, 0, 0, 0, 1, 1)])
    row = summary["A-Count"]
    assert row.accuracy == pytest.approx(1 / 3)
    assert row.std == pytest.approx(1 / 3)  # of 2/3, 1/3, 0, over n - 1
    assert (row.runs, row.count, row.cell) == (3, 3, "33.3 ± 33.3")
    assert summary["AV-Avg"].cell == "100.0 ± 0.0"
    assert summary["V-Loc"].cell == "–"


def test_one_run_has_no_spread() -> None:
    single = table(1, 1, 0, 0, 1, 0)
    assert summarise([single]) == single
    assert single["A-Count"].cell == "66.67"


def test_only_like_tables_are_summed_up() -> None:
    one = table(1, 1, 0, 0, 1, 0)
    with pytest.raises(ValueError, match="tables is empty"):
        summarise([])
    with pytest.raises(ValueError, match="single runs"):
        summarise([summarise([one, one]), one])
    with pytest.raises(ValueError, match="answered different questions"):
        summarise([one, accuracy_table(QUESTIONS[:5], [1] * 5)])


def test_the_screen_shows_systems_side_by_side() -> None:
    one = table(1, 1, 0, 0, 1, 0)
    lines = shown({"[text] only": one, "model": summarise([one, table(1, 1, 1, 1, 1, 1)])}).splitlines()
    assert "[text] only" in lines[1]
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert [row[0] for row in cells] == ROWS.split()
    assert cells[0] == ["A-Count", "3", "66.67", "83.3 ± 23.6"]
    assert cells[4] == ["V-Loc", "0", "–", "–"]


def test_markdown() -> None:
    lines = to_markdown({"a|b": table(1, 1, 0, 0, 1, 0)}).splitlines()
    assert lines[:4] == [
        "| type | questions | a\\|b |",
        "| --- | ---: | ---: |",
        "| A-Count | 3 | 66.67 |",
        "| A-Comp | 1 | 0.00 |",
    ]
    assert lines[-1] == "| **All** | **6** | **50.00** |"


def test_systems_that_answered_different_questions_are_not_compared() -> None:
    with pytest.raises(ValueError, match="'b' and 'a' answered different questions"):
        render({"a": table(1, 1, 0, 0, 1, 0), "b": accuracy_table(QUESTIONS[:5], [1] * 5)})
    with pytest.raises(ValueError, match="no systems"):
        to_markdown({})


def test_tables_survive_json(tmp_path: Path) -> None:
    questions = [ask("AV-Temp", topic="é") for _ in range(3)]
    one = accuracy_table(questions, [1, 0, 0.1], topics=True)
    systems = {"seed 1": one, "mean": summarise([one, accuracy_table(questions, [0, 0, 1], topics=True)])}
    write_tables(tmp_path / "new" / "tables.json", systems)
    assert read_tables(tmp_path / "new" / "tables.json") == systems


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '{"a": 3}',
        '{"a": [{"name": "All"}]}',
        '{"a": ["x"]}',
        '{"a": [{"name": "All", "kind": "total", "count": 1, "accuracy": "1.0"}]}',
    ],
)
def test_json_that_holds_no_tables(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tables.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"tables\.json holds no tables of accuracies"):
        read_tables(path)


def predictions() -> list[Prediction]:
    return [
        Prediction(ask("A-Comp", number=1, text='Is it "loud", or\nnot'), "no", 0.1 + 0.2),
        Prediction(ask("AV-Temp", number=2, topic="order", text="哪个先"), "yes", 1.0),
    ]


def test_predictions_survive_csv(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions(path, predictions())
    assert read_predictions(path) == predictions()
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    columns = ["question_id", "video_id", "type", "question", "answer", "predicted", "probability"]
    assert rows[0][:7] == columns
    assert rows[2][:7] == ["2", "00000002", "AV-Temp", "哪个先", "yes", "yes", "1.0"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("predicted,", "", "lacks the columns predicted"),
        ("AV-Temp", "Temporal", "line 5 has the type 'Temporal'; known are A-Count"),
        (",1.0,", ",much,", "line 5 has the probability 'much'"),
        (",1.0,", ",nan,", "line 5 has the probability 'nan'"),
        (",1.0,", ",1.5,", "line 5 has the probability '1.5'"),
        (",1.0,", ",1.0,,,", "line 5 does not have 9 fields"),
        (",1.0,", ",", "line 5 does not have 9 fields"),
        ('"Is it ""loud""', '"Is it "loud""', "is not CSV in UTF-8"),
    ],
)
def test_a_csv_with_a_fault(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions(path, predictions())
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_predictions(path)


def test_a_csv_that_is_missing_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.csv cannot be read: No such file"):
        read_predictions(tmp_path / "nowhere.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is not CSV in UTF-8"):
        read_predictions(tmp_path / "binary.csv")
