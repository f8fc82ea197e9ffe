"""Jobs in processes: every result once, the first failure told, a dead process told in one line."""

from __future__ import annotations

import os

import pytest

from examples.avqa.errors import UserError
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
