"""Charts drawn from a recorded file: every baseline in every chart, the same bytes each time."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

import benchmarks.__main__ as command
from benchmarks.charts import CHARTS
from benchmarks.record import Row
from benchmarks.results import NAMES, Results, load
from tests.benchmarks.recorded import record

matplotlib = pytest.importorskip("matplotlib", reason="draws charts")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    record(tmp_path / "some-cpu.json")
    return tmp_path / "some-cpu.json"


@pytest.mark.parametrize("ending", [pytest.param("svg", marks=pytest.mark.slow), "png"])
def test_the_same_file_gives_the_same_charts(path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    # Pictures made of pixels take long: one of them is enough.
    drawn = {name: chart for name, chart in CHARTS.items() if ending == "svg" or name == "published"}
    monkeypatch.setattr("benchmarks.charts.CHARTS", drawn)
    folders = [path.parent / name for name in ("one", "two")]
    for folder in folders:
        assert command.main(["plot", str(path), "--out", str(folder), "--format", ending]) == 0
    first, second = ({file.name: file.read_bytes() for file in folder.iterdir()} for folder in folders)
    assert first == second
    assert first.keys() == {f"some-cpu-{name}.{ending}" for name in drawn if name != "time-dtype"}


def test_every_baseline_is_in_every_chart_of_times(path: Path) -> None:
    results = load([path])["some-cpu"]
    for chart in ("time-T", "time-B", "time-E", "time-K", "time-D", "growth"):
        figure = CHARTS[chart](results)
        assert figure is not None
        suite = "growth" if chart == "growth" else "axes"
        names = {NAMES[name] for name in results.implementations(suite)} - {NAMES["layer_without_skipping"]}
        assert len(names) == 6
        for axes in figure.axes:
            assert {line.get_label() for line in axes.get_lines()} == names
    bars = CHARTS["published"](results)
    assert bars is not None
    assert {label.get_text() for label in bars.axes[0].get_yticklabels()} == {
        NAMES[name] for name in results.implementations("published")
    }


def test_a_case_without_a_number_leaves_a_gap_and_no_error(path: Path) -> None:
    results = load([path])["some-cpu"]
    rows = [
        row
        for suite in ("axes", "grid", "growth")
        for case in results.cases(suite)
        for row in results.rows(suite, case)
    ]
    broken = [
        Row(row.suite, row.case, row.implementation, "c", fault="wrong") if row.case.T == 60 else row for row in rows
    ]
    for chart in ("time-T", "time-B", "grid", "growth"):
        assert CHARTS[chart](Results(results.provenance, broken)) is not None


def test_without_matplotlib_the_extra_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    importing = builtins.__import__

    def refuse(name: str, *rest: Any, **options: Any) -> Any:
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return importing(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert command.main(["plot", str(path), "--out", str(path.parent / "charts")]) == 2
    assert "gaussian-moe[plot]" in capsys.readouterr().err
    assert command.main(["table", str(path)]) == 0
