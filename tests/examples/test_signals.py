"""Signals stop a command once, with its cleaning up; before and after it there is nothing to clean up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from examples.avqa import cli, signals
from examples.avqa.cli import main
from examples.avqa.files import written_whole
from examples.avqa.signals import Stopped, held_back, received, stoppable

# A command in place of a real one: tells that it has begun, and leaves half a file unless it is cleaned up.
_WAITS = """
import signal, sys, time
from pathlib import Path
# As from a terminal, also where the tests run under nohup.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from examples.avqa import __main__ as program, cli
from examples.avqa.files import written_whole

def waits(out: Path) -> None:
    with written_whole(out / "a.txt") as temporary:
        temporary.write_text("half")
        print("begun", flush=True)
        time.sleep(60)

cli.command_function = lambda name: waits
sys.argv = ["avqa", "extract", "--out", sys.argv[1]]
sys.exit(program.run())
"""


def _waiting(out: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    root = Path(cli.__file__).parents[2]
    command = [sys.executable, "-c", _WAITS, str(out)]
    return subprocess.Popen(command, cwd=root, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_is_told_and_nothing_is_left(tmp_path: Path, number: signal.Signals) -> None:
    with _waiting(tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        # Some schedulers send each twice.
        process.send_signal(number)
        process.send_signal(number)
        _, error = process.communicate()
    assert process.returncode == 128 + number
    by = "" if number == signal.SIGINT else f" by {number.name}"
    assert error == f"stopped{by}; the same command again goes on from here\n"
    assert list(tmp_path.iterdir()) == []


def _kill_twice() -> None:
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        os.kill(os.getpid(), signal.SIGHUP)


def test_the_first_signal_stops_and_the_next_is_let_by() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped), stoppable():
        _kill_twice()
    assert received() is signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert received() is None


def test_what_a_destructor_swallows_is_raised_anew() -> None:
    class Swallows:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped), stoppable():
        time.sleep(10 if Swallows() else 0)


def test_signals_wait_while_they_are_held_back() -> None:
    pid = os.fork()
    if pid == 0:
        # One thread alone: of several, another may take a signal.
        code = 3
        try:
            with stoppable(), held_back():
                os.kill(os.getpid(), signal.SIGTERM)
                code = 4
        except Stopped:
            code += 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5


def test_what_fails_because_of_a_signal_is_not_told_as_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fails(out: Path) -> None:
        try:
            with written_whole(out / "a.txt"):
                os.kill(os.getpid(), signal.SIGTERM)
        except Stopped:
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated.") from None

    monkeypatch.setattr("examples.avqa.extract.extract", fails)
    assert main(["extract", "--out", str(tmp_path)]) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "stopped by SIGTERM; the same command again goes on from here\n"


def test_a_worker_that_dies_in_any_moment_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """PyTorch raises it in a signal's handler: in a destructor, or in something that then fails otherwise."""

    def dies() -> None:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    class Destroyed:
        def __del__(self) -> None:
            dies()

    class HalfMade:
        def __del__(self) -> None:
            raise AttributeError("no attribute '_workers_status'")

    def fails(out: Path) -> None:
        Destroyed()
        half_made = HalfMade()
        try:
            assert half_made
            dies()
        except RuntimeError:
            raise RuntimeError("unexpected pos 64 vs 0")  # noqa: B904  # as torch.save does

    monkeypatch.setattr("examples.avqa.extract.extract", fails)
    assert main(["extract", "--out", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: a process that reads batches died")


def test_a_job_ends_its_process_when_it_is_cleaned_up(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        signals.serve_jobs(ctrl_c=False)
        os.kill(os.getpid(), signal.SIGINT)
        with signals.job(), written_whole(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
