"""The command line teaches, and says in one line what is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks.__main__ as command
from benchmarks.cases import SUITES, default_suites, experiments
from benchmarks.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GAUSSIAN_MOE_BACKEND", raising=False)


@pytest.mark.parametrize("name", ["run", "verify", "table", "plot", "kernels"])
def test_help_of_each_command_holds_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main([name, "--help"])
    assert stopped.value.code == 0
    assert f"python -m benchmarks {name}" in capsys.readouterr().out


@pytest.mark.slow
def test_the_package_runs_as_a_module_and_lists_its_suites() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "run", "--list", "--device", "cpu"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = done.stdout.splitlines()
    assert {line.split()[0] for line in lines} == {"published", "growth", "axes", "grid"}
    assert sum(line.startswith("grid ") for line in lines) == 96
    assert "published  B=8 T=512 D=512 E=8 K=2 float32: layer, factored, published" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--only", "fastest"], "there is no implementation 'fastest'"),
        (["run", "--suite", "pool", "--device", "cpu"], "needs a CUDA device"),
        (["run", "--size", "S=2"], "--size takes a letter of B, T, D, E, K and numbers, such as T=1,60; got 'S=2'"),
        (["verify", "--size", "T=1,x"], "got 'T=1,x'"),
        (["run", "--suite", "grid", "--size", "T=61"], "no case of these suites has the sizes T=61"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1


def test_a_backend_chosen_by_the_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GAUSSIAN_MOE_BACKEND", "torch")
    assert command.main(["verify", "--suite", "published"]) == 2
    assert "unset GAUSSIAN_MOE_BACKEND" in capsys.readouterr().err


def test_sizes_choose_cases(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        command.main(["run", "--list", "--device", "cpu", "--suite", "grid", "--size", "T=1,60", "B=8", "D=256"]) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    assert all("B=8" in line and "D=256" in line and ("T=1 " in line or "T=60 " in line) for line in lines)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_no_suite_asks_for_the_same_case_twice(device: str) -> None:
    for name in SUITES:
        if name == "pool" and device == "cpu":
            with pytest.raises(UserError):
                experiments([name], device)
            continue
        cases = [experiment.case for experiment in experiments([name], device)]
        assert len(cases) == len(set(cases))
    assert experiments(default_suites(device), device)


def test_a_signal_that_asks_it_to_end_stops_it_as_ctrl_c_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(command, "_table", lambda options: os.kill(os.getpid(), signal.SIGTERM))
    assert command.main(["table"]) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "stopped; what is recorded stays\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_the_disk_refuses_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert command.main(["plot", "--out", str(tmp_path / "file" / "charts")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert str(tmp_path / "file") in error
    assert error.count("\n") == 1
