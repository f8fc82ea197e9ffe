"""Jobs in processes: every result once, the first failure told, a dead process told in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.avqa.errors import UserError
from examples.avqa.files import process_runs, written_whole
from examples.avqa.processes import cores, each_done

_added = 0


def _start(number: int) -> None:
    global _added
    _added = number


def _add(number: int) -> int:
    return number + _added


def _fail(number: int) -> int:
    raise ValueError(f"job {number}")


def _die(number: int) -> None:
    os._exit(1)


def test_every_job_is_done_once_in_processes_that_were_started() -> None:
    assert sorted(each_done(_add, [(1,), (2,), (3,)], 2, _start, (10,))) == [(0, 11), (1, 12), (2, 13)]
    assert list(each_done(_add, [], 2)) == []


def test_a_failed_job_ends_the_work() -> None:
    with pytest.raises(ValueError, match="job 5"):
        list(each_done(_fail, [(5,)], 1))


def test_a_dead_process_is_told_in_one_line() -> None:
    with pytest.raises(UserError, match=r"a worker process died.*fewer than 1"):
        list(each_done(_die, [(1,)], 1))


def test_cores_are_those_that_may_be_used() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)


_STARTS_AND_WAITS = """
import os, sys
from examples.avqa.processes import each_done
from tests.examples.test_processes import _tell_and_wait

if __name__ == "__main__":
    list(each_done(_tell_and_wait, [(sys.argv[1],)], 1))
"""


def _tell_and_wait(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)


def _wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script, told = tmp_path / "script.py", tmp_path / "pid"
    script.write_text(_STARTS_AND_WAITS)
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, script, told], env=os.environ | {"PYTHONPATH": str(root)}) as parent:
        _wait_for(lambda: told.exists() and bool(told.read_text()))
        parent.kill()
    _wait_for(lambda: not process_runs(int(told.read_text())))


def _note_and_wait(folder: str) -> None:
    with written_whole(Path(folder) / "a.txt") as temporary:
        temporary.write_text("half")
        time.sleep(60)


_STARTS_AND_CLEANS_UP = """
import sys
from examples.avqa.processes import each_done
from examples.avqa.signals import stoppable
from tests.examples.test_processes import _note_and_wait

if __name__ == "__main__":
    try:
        with stoppable():
            list(each_done(_note_and_wait, [(sys.argv[1],)] * 3, 1))
    except KeyboardInterrupt:
        sys.exit(5)
"""


@pytest.mark.slow
@pytest.mark.parametrize("group", [False, True], ids=["the parent alone", "all of them"])
def test_workers_clean_up_when_they_are_asked_to_end(tmp_path: Path, group: bool) -> None:
    script, folder = tmp_path / "script.py", tmp_path / "out"
    script.write_text(_STARTS_AND_CLEANS_UP)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, script, folder], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        _wait_for(lambda: folder.exists() and any(folder.iterdir()))
        (os.killpg if group else os.kill)(parent.pid, signal.SIGTERM)
        _, error = parent.communicate(timeout=30)
    assert (parent.returncode, error) == (5, "")
    assert list(folder.iterdir()) == []
