"""The command: it records, goes on, and says what failed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.stress import __main__ as command
from tests.stress import attacks
from tests.stress.attack import Attack, Outcome, Run
from tests.stress.record import read


@pytest.fixture(autouse=True)
def two(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Two attacks in place of the real ones; the list takes the amounts that "good" was run with."""
    amounts = list[int]()

    def good(run: Run) -> Outcome:
        amounts.append(run.amount)
        run.tell(run.amount)
        assert list(run.folder.iterdir()) == []
        return Outcome(run.amount, (), {"largest error": 0.5})

    made = [
        Attack("good", "Numerics", "nothing", "all", good, 7, 1),
        Attack("bad", "Faults", "much", "little", lambda run: Outcome(2, ("it broke",)), 2, 1),
    ]
    monkeypatch.setattr(attacks, "load", lambda: {attack.name: attack for attack in made})
    monkeypatch.setattr(command, "provenance", lambda device: {"commit": "abc"})
    monkeypatch.setattr("tests.stress.record.provenance", lambda device: {"commit": "abc"})
    return amounts


def test_a_run_is_recorded_and_not_repeated(tmp_path: Path, two: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["run", "good", "--out", str(tmp_path)]) == 0
    record = read(tmp_path, "good")
    assert record is not None
    assert (record.tried, record.failed, record.measured) == (7, 0, {"largest error": 0.5})
    assert "good: 7 inputs, 0 failed" in capsys.readouterr().out
    assert command.main(["run", "good", "--out", str(tmp_path)]) == 0
    assert "--again runs it again" in capsys.readouterr().out
    assert two == [7]
    command.main(["run", "good", "--out", str(tmp_path), "--again"])
    command.main(["run", "good", "--out", str(tmp_path), "--amount", "9"])
    assert two == [7, 7, 9]


def test_another_commit_is_attacked_again(tmp_path: Path, two: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    command.main(["run", "good", "--out", str(tmp_path)])
    monkeypatch.setattr(command, "provenance", lambda device: {"commit": "def"})
    command.main(["run", "good", "--out", str(tmp_path)])
    assert two == [7, 7]


def test_a_failure_is_recorded_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # What failed is not done.
        assert command.main(["run", "--out", str(tmp_path)]) == 1
        told = capsys.readouterr()
        assert "FAILED it broke" in told.out
        assert told.err.endswith("failed: bad\n")
    assert json.loads((tmp_path / "bad.json").read_text())["failures"] == ["it broke"]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [(["other"], "no attack is called other; known are good, bad"), (["good", "--amount", "0"], "at least 1, got 0")],
)
def test_what_cannot_be_run_is_told(given: list[str], wanted: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["run", *given]) == 2
    assert wanted in capsys.readouterr().err


def test_the_list_names_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["good", "bad"]
