"""Answers that another program gave, for `evaluate`."""

from __future__ import annotations

import json
from pathlib import Path

from examples.avqa.evaluate import evaluate
from tests.stress.fuzz.csv_changes import csv_changed
from tests.stress.fuzz.json_changes import json_changed
from tests.stress.fuzz.parser import Files, Parser

from .annotations import ANSWERS, three_records

_INDEX = json.dumps({"ans2ix": {answer: number for number, answer in enumerate(ANSWERS)}}).encode()


def _with(name: str, content: bytes) -> Files:
    return {name: content, "test.json": three_records(), "answer2idx.json": _INDEX}


def _csv() -> tuple[Files, ...]:
    rows = b"question_id,prediction\n0,yes\n1,two\n2,left\n"
    ours = b'question_id,video_id,predicted,note\r\n2,a,left,\r\n1,b,no,"x,\ny"\r\n0,c,yes,\r\n'
    return _with("given.csv", rows), _with("given.csv", ours)


def _json() -> tuple[Files, ...]:
    by_id = json.dumps({"0": "yes", "1": "two", "2": "left"}).encode()
    rows = json.dumps([{"question_id": 0, "prediction": "yes"}, {"question_id": "1", "predicted": "no"},
                       {"question_id": 2.0, "prediction": "left"}]).encode()  # fmt: skip
    return _with("given.json", by_id), _with("given.json", rows)


def _evaluated(folder: Path) -> None:
    given = next(folder.glob("given.*"))
    out = folder / "out"
    evaluate(given, folder / "test.json", folder / "answer2idx.json", out=out)
    lines = (out / "table.md").read_text(encoding="utf-8").splitlines()
    assert all(line.startswith("|") for line in lines)
    assert "| **All** | **3** |" in "\n".join(lines)


PARSERS = (
    Parser("answers-csv", _csv, {"given.csv": (csv_changed,)}, _evaluated),
    Parser("answers-json", _json, {"given.json": (json_changed,)}, _evaluated),
)
