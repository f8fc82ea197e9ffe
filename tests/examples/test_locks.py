"""One process at a time in a folder."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from examples.avqa.errors import UserError
from examples.avqa.files import process_runs
from examples.avqa.locks import LOCK, forget_killed, only_here

_HOLDS = """
import sys
import time
from pathlib import Path
from examples.avqa.locks import only_here

with only_here(Path(sys.argv[1]), "trains into"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """A process that is in the folder `run`."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", _HOLDS, str(tmp_path / "run")]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_is_told_who_is_there(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with holder:
        second = only_here(tmp_path / "run", "trains into")
        with pytest.raises(UserError, match=rf"process {holder.pid} on .* trains into .*run at this moment"):
            second.__enter__()
        holder.communicate("")
    with only_here(tmp_path / "run", "trains into"):
        assert (tmp_path / "run" / LOCK).exists()


def test_a_killed_process_is_there_no_longer(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with holder:
        holder.send_signal(signal.SIGKILL)
    assert (tmp_path / "run" / LOCK).exists()
    with only_here(tmp_path / "run", "trains into"):
        pass
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_lock_of_a_killed_process_is_forgotten_and_no_other(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with holder:
        forget_killed(tmp_path / "run")
        assert (tmp_path / "run" / LOCK).exists()
        holder.send_signal(signal.SIGKILL)
    forget_killed(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []
    forget_killed(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_folder_that_stays_empty_does_not_stay(tmp_path: Path) -> None:
    with only_here(tmp_path / "new", "packs into"):
        pass
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    with only_here(tmp_path / "old", "packs into"):
        pass
    assert (tmp_path / "old").exists()


def test_a_process_that_a_killed_one_has_forked_does_not_hold_it(tmp_path: Path) -> None:
    # Data-loader workers live on for seconds.
    script = _HOLDS.replace("import sys", "import os, sys").replace("sys.stdin.read()", "os.fork(); sys.stdin.read()")
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", script, str(tmp_path / "run")]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not children.read_text():
            time.sleep(0.01)
        process.kill()
        while process_runs(process.pid):
            time.sleep(0.01)
        with only_here(tmp_path / "run", "trains into"):
            pass
