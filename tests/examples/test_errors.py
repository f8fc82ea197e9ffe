"""Every error of the user or of the machine is one line with its mend; those of the program stay."""

from __future__ import annotations

import errno

import pytest
import torch

from examples.avqa.errors import UserError, told


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80.00 GiB.\nSee the documentation"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
    ids=["Python", "CUDA", "CPU"],
)
def test_lack_of_memory_is_told_with_what_to_make_smaller(error: Exception) -> None:
    line = told(error)
    assert line is not None
    assert line.startswith("out of memory")
    assert "data.clips_per_batch" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("number", "mend"),
    [(errno.ENOSPC, "free some space"), (errno.EROFS, "name another folder"), (errno.EACCES, "permissions")],
)
def test_what_the_system_refuses_is_told_with_file_and_mend(number: int, mend: str) -> None:
    line = told(OSError(number, "so it says", "run/last.ckpt"))
    assert line is not None
    assert "run/last.ckpt" in line
    assert mend in line


def test_a_name_over_two_lines_is_told_in_one() -> None:
    assert told(UserError("no such file: a\nb")) == r"no such file: a\nb"


def test_an_error_of_the_program_is_none_of_the_users() -> None:
    assert told(RuntimeError("shapes do not fit")) is None
    assert told(ValueError("wrong")) is None
