"""`report` sets like runs beside each other and the published, and does not let other questions pass for the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

from examples.avqa import report as command
from examples.avqa.annotations import QUESTION_TYPES, Question
from examples.avqa.cli import main
from examples.avqa.errors import UserError
from examples.avqa.predicting import TEXT_ONLY, table
from examples.avqa.published import Published, PublishedSystem
from examples.avqa.report import report
from examples.avqa.results import AccuracyTable, Prediction, read_tables, write_predictions, write_tables

COUNTS = {"A-Count": 4, "V-Loc": 2, "AV-Temp": 6}
PAPER = Published("the data, test", 12, COUNTS, "counted", {"theirs": PublishedSystem("a paper", {"All": 50.0})})


def predictions(right: Mapping[str, int], counts: Mapping[str, int] = COUNTS, ids: str = "q") -> list[Prediction]:
    """So many right answers of each type, the first ones."""
    keys = {name: key for key, name in QUESTION_TYPES.items()}
    return [
        Prediction(
            Question("clip", f"{ids}{name}{n}", *keys[name], "Is it", "Is it?", "yes", ""),
            "yes" if n < right.get(name, 0) else "no",
            0.5,
        )
        for name, count in counts.items()
        for n in range(count)
    ]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three runs of one system and one of another, the latter as a table only."""
    monkeypatch.setattr(command, "published_figures", lambda name: PAPER)
    for seed, right in enumerate((6, 3, 3)):
        write_predictions(tmp_path / f"tiger-{seed}/test/predictions.csv", predictions({"AV-Temp": right, "V-Loc": 1}))
    other = table(predictions({"A-Count": 4}))
    write_tables(tmp_path / "other/test/table.json", {"model": other, TEXT_ONLY: table(predictions({}))})
    return tmp_path


def _lines(path: Path) -> dict[str, list[str]]:
    rows = [line.replace("*", "").strip("| ").split(" | ") for line in path.read_text().splitlines() if line[:1] == "|"]
    return {cells[0]: cells[1:] for cells in rows}


def test_groups_stand_beside_the_published(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = runs / "report"
    given = [f"QA-TIGER={runs}/tiger-*/test", str(runs / "other" / "test")]
    assert main(["report", *given, "--published", "music-avqa", "--out", str(out)]) == 0
    lines = _lines(out / "report.md")
    assert lines["type"] == ["questions", "QA-TIGER (3 runs)", "other", "theirs, published"]
    assert lines["AV-Temp"] == ["6", "66.7 ± 28.9", "0.00", "–"]
    assert lines["A-Count"] == ["4", "0.0 ± 0.0", "100.00", "–"]
    totals = [100 * right / 12 for right in (7, 4, 4)]
    assert lines["All"] == ["12", f"{mean(totals):.1f} ± {stdev(totals):.1f}", "33.33", "50.00"]
    text = (out / "report.md").read_text()
    assert "theirs, published: a paper." in text
    assert "has 12 questions (counted)" in text
    assert f"QA-TIGER: {runs}/tiger-0/test, {runs}/tiger-1/test, {runs}/tiger-2/test." in text
    assert "cannot be compared" not in text
    assert read_tables(out / "table.json")["QA-TIGER (3 runs)"]["AV-Temp"].runs == 3
    assert (out / "chart.png").read_bytes().startswith(b"\x89PNG")
    assert "AV-Temp" in capsys.readouterr().out


def _refused(given: list[str], message: str, out: Path, **options: Any) -> None:
    with pytest.raises(UserError, match=message) as told:
        report(given, out=out, **options)
    assert "\n" not in str(told.value)
    assert not out.exists()


def test_what_is_missing_is_named(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    _refused([f"a={runs}/lion-*"], r"no folder matches .*lion-\*;", out)
    _refused([str(runs / "lion")], "no folder matches .*lion;", out)
    _refused(
        [f"a={runs}/tiger-?", str(runs / "other" / "test")], r"neither .* in .*tiger-0, .*tiger-1, .*tiger-2;", out
    )
    _refused([f"a={runs}/tiger-*/test", f"a={runs}/tiger-1/test"], "tiger-1/test is named twice", out)
    _refused([f"={runs}/tiger-1/test"], "names nothing", out)
    write_tables(runs / "both/test/table.json", {name: table(predictions({})) for name in ("a", "b")})
    _refused([str(runs / "both" / "test")], r"holds 2 systems \(a, b\)", out)
    report([f"x={runs}/tiger-*/test"], runs / "summary")
    _refused([str(runs / "summary")], "sums up several runs", out)
    (runs / "other" / "test" / "table.json").write_text('{"model": []}')
    _refused([str(runs / "other" / "test")], "has no row All", out)
    fewer = AccuracyTable(tuple(row for row in table(predictions({})).rows if row.name != "V-Loc"))
    write_tables(runs / "other" / "test" / "table.json", {"model": fewer})
    _refused([str(runs / "other" / "test")], r"table\.json has no row V-Loc; it wants what test", out, published="x")


def test_two_folders_of_one_name_want_names(runs: Path, tmp_path: Path) -> None:
    write_predictions(runs / "more/tiger-0/test/predictions.csv", predictions({}))
    given = [str(runs / "tiger-0" / "test"), str(runs / "more" / "tiger-0" / "test")]
    _refused(given, "two folders are called 'tiger-0'; give names, such as tiger-0-2=", tmp_path / "out")


def test_other_questions_are_refused(runs: Path, tmp_path: Path) -> None:
    out, tiger = tmp_path / "out", f"tiger={runs}/tiger-*/test"
    fewer, other = runs / "fewer", runs / "elsewhere"
    write_predictions(fewer / "predictions.csv", predictions({}, {"A-Count": 4}))
    write_predictions(other / "predictions.csv", predictions({}, ids="other"))
    _refused([tiger, str(fewer)], "tiger-0/test holds 12 questions, .*fewer 4; --different_questions true", out)
    _refused([tiger, str(other)], "tiger-0/test and .*elsewhere hold other questions, 12 each", out)
    _refused([tiger, f"tiger={fewer}"], "tiger is no group of like runs", out, different_questions=True)
    _refused(
        [str(fewer)], r"fewer answered 4 questions, the published split \(the data, test\) has 12", out, published="x"
    )
    kinds = {"A-Count": 5, "V-Loc": 1, "AV-Temp": 6}
    write_predictions(fewer / "predictions.csv", predictions({}, kinds))
    _refused([str(fewer)], "but others of A-Count, V-Loc", out, published="x")


def test_other_questions_stand_side_by_side_where_asked_and_the_report_says_so(runs: Path, tmp_path: Path) -> None:
    """As head and tail of MUSIC-AVQA-R do."""
    for name, counts in (("head", {"A-Count": 4}), ("tail", {"A-Count": 1, "AV-Temp": 6})):
        write_predictions(runs / name / "predictions.csv", predictions({"A-Count": 1}, counts))
    given = [str(runs / "head"), str(runs / "tail")]
    report(given, tmp_path / "out", "x", different_questions=True)
    lines = _lines(tmp_path / "out" / "report.md")
    assert lines["type"] == ["head", "tail", "theirs, published"]
    assert lines["A-Count"] == ["25.00 (4)", "100.00 (1)", "–"]
    assert lines["All"] == ["25.00 (4)", "14.29 (7)", "50.00"]
    text = (tmp_path / "out" / "report.md").read_text()
    assert text.count("answered different questions and cannot be compared") == 3
    assert "head answered 4 questions, the published split (the data, test) has 12" in text


def test_a_published_split_of_unknown_size_is_told(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = Published("v2", None, {}, "", PAPER.systems)
    monkeypatch.setattr(command, "published_figures", lambda name: unknown)
    report([f"x={runs}/tiger-*/test"], tmp_path / "out", "x")
    assert "(v2) has is not recorded here" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize("count", [1, 8])
def test_a_chart_holds_one_to_eight_systems(runs: Path, tmp_path: Path, count: int) -> None:
    tiger = runs / "tiger-0" / "test" / "predictions.csv"
    for number in range(9):
        (runs / f"s{number}").mkdir()
        (runs / f"s{number}" / "predictions.csv").write_bytes(tiger.read_bytes())
    folders = [str(runs / f"s{number}") for number in range(9)]
    _refused(folders, "9 systems with the published ones; a report holds at most 8", tmp_path / "out")
    report(folders[:count], tmp_path / "out", chart="svg")
    assert "<svg" in (tmp_path / "out" / "chart.svg").read_text()


def test_columns_called_alike_are_refused(runs: Path, tmp_path: Path) -> None:
    _refused([f"theirs, published={runs}/tiger-0/test"], "called alike", tmp_path / "out", published="x")
