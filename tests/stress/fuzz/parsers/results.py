"""Result files: predictions, tables, metrics of a run, recorded benchmarks."""

from __future__ import annotations

import functools
import io
import json
import math
from pathlib import Path

from rich.console import Console

from benchmarks import record
from benchmarks.errors import UserError as BenchmarkError
from examples.avqa.annotations import Question
from examples.avqa.errors import UserError
from examples.avqa.evaluate import evaluate
from examples.avqa.metrics_file import read_metrics
from examples.avqa.report_runs import read_groups
from examples.avqa.report_text import markdown, report_tables
from examples.avqa.results import (
    Prediction,
    accuracy_table,
    read_predictions,
    read_tables,
    render,
    to_markdown,
    write_predictions,
    write_tables,
)
from tests.stress.fuzz.csv_changes import csv_changed
from tests.stress.fuzz.json_changes import json_changed
from tests.stress.fuzz.parser import Files, Parser

_QUESTIONS = [
    Question("v1", "1", "Audio", "Counting", "How many sound", "How many sound?", "two", "many"),
    Question("v2", "2", "Audio-Visual", "Temporal", "Which, a or \"b\"", "Which, a or \"b\"?", "flute", ""),
]  # fmt: skip


@functools.cache
def _predictions() -> tuple[Files, ...]:
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "predictions.csv"
        write_predictions(path, [Prediction(question, "two", 0.25) for question in _QUESTIONS])
        return ({"predictions.csv": path.read_bytes()},)


@functools.cache
def _tables() -> tuple[Files, ...]:
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "table.json"
        write_tables(path, {"QA-TIGER": accuracy_table(_QUESTIONS, [1.0, 0.0], topics=True)})
        return ({"table.json": path.read_bytes()},)


def _read_predictions(folder: Path) -> None:
    found = read_predictions(folder / "predictions.csv")
    assert all(0 <= prediction.probability <= 1 for prediction in found)
    evaluate(folder, out=folder / "out")
    _is_table((folder / "out" / "table.md").read_text(encoding="utf-8"))
    _reported(folder)


def _read_tables(folder: Path) -> None:
    systems = read_tables(folder / "table.json")
    for table in systems.values():
        for row in table.rows:
            assert row.accuracy is None or 0 <= row.accuracy <= 1
            assert row.count >= 0
    _reported(folder)


def _reported(folder: Path) -> None:
    """As `report` sets it beside another."""
    groups = read_groups([f"a={folder}"])
    tables = report_tables(groups, None)
    _is_table(to_markdown(tables))
    Console(file=io.StringIO()).print(render(tables))
    markdown(groups, None, []).encode()


def _is_table(text: str) -> None:
    lines = text.splitlines()
    assert lines, "an empty table"
    assert all(line.startswith("| ") and line.endswith(" |") for line in lines), "a line that is no row"


def _metrics() -> tuple[Files, ...]:
    text = b"epoch,lr,train/loss,val/loss,val/accuracy\n0,0.0001,1.5,1.4,0.5\n1,0.0001,1.25,1.5,0.75\n"
    return {"metrics.csv": text}, {"metrics.csv": b"epoch,lr,train/loss,val/loss,val/accuracy\n0,0.0001,1.5,,\n"}


def _read_metrics(folder: Path) -> None:
    for row in read_metrics(folder / "metrics.csv"):
        # What a resumed run does with them.
        assert int(row["epoch"]) >= 0
        assert not row["val/accuracy"] or math.isfinite(float(row["val/accuracy"]))


@functools.cache
def _benchmarks() -> tuple[Files, ...]:
    rows = [
        {"suite": "pool", "case": {"B": 2, "T": 3, "D": 4, "E": 2, "K": 1}, "implementation": "layer", "commit": "abc",
         "times": {"forward": [1e-3, 9e-4, 2e-3]}, "memory": 4096, "flops": 10, "output_error": 1e-7},
    ]  # fmt: skip
    return ({"cpu.json": json.dumps({"provenance": {"device": "CPU", "torch": "2.13"}, "rows": rows}).encode()},)


def _read_benchmark(folder: Path) -> None:
    provenance, rows = record.read(folder / "cpu.json")
    record.write(folder / "again.json", provenance, rows)
    assert record.read(folder / "again.json")[0] == provenance


PARSERS = (
    Parser("predictions", _predictions, {"predictions.csv": (csv_changed,)}, _read_predictions),
    Parser("tables", _tables, {"table.json": (json_changed,)}, _read_tables),
    Parser("metrics", _metrics, {"metrics.csv": (csv_changed,)}, _read_metrics),
    Parser(
        "benchmark-record",
        _benchmarks,
        {"cpu.json": (json_changed,)},
        _read_benchmark,
        refusals=(UserError, BenchmarkError),
    ),
)
