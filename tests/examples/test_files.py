"""Files are whole or not there, and what killed processes left is swept up."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from examples.avqa import files, saving
from examples.avqa.files import (
    process_runs,
    sweep_temporaries,
    write_array,
    write_text,
    written_whole,
)
from examples.avqa.question_store import save_tensors
from examples.avqa.saving import WholeCheckpoints


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _left_by(folder: Path, pid: int, host: str | None = None) -> Path:
    """A temporary file as a process that was killed leaves it."""
    with written_whole(folder / "a.npy") as temporary:
        name = temporary.name.replace(f".{os.getpid()}.", f".{pid}.")
        left = folder / (name.replace(files._HOST, host) if host else name)
        left.write_text("half")
        temporary.write_text("whole")
    (folder / "a.npy").unlink()
    return left


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.txt", "half, \ud800")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert _names(tmp_path) == ["a.txt"]


def test_what_dead_processes_left_is_swept_up_and_nothing_else(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as living:
        kept = _left_by(tmp_path, living.pid)
        other = _left_by(tmp_path, 1, host="00000000")
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        _left_by(tmp_path, dead.pid)
        _left_by(tmp_path, os.getpid())
        for name in (".hidden", "b.tmp.npy", "a.npy", ".a.tmp"):
            (tmp_path / name).touch()
        sweep_temporaries(tmp_path)
        assert _names(tmp_path) == sorted([kept.name, other.name, ".hidden", "b.tmp.npy", "a.npy", ".a.tmp"])
        os.utime(other, (0, 0))
        sweep_temporaries(tmp_path)
        assert not other.exists()
        # Killed, but not yet waited for.
        living.kill()
        while process_runs(living.pid):
            pass
        sweep_temporaries(tmp_path)
        assert not kept.exists()
    sweep_temporaries(tmp_path / "none")


def test_a_checkpoint_that_is_interrupted_before_its_end_is_an_error_and_not_the_end_of_the_process(
    tmp_path: Path,
) -> None:
    """In a process of its own, as it would be ended by SIGABRT."""
    program = """
import sys, torch
from pathlib import Path
from examples.avqa.saving import WholeCheckpoints

def interrupted(self, *_):
    raise RuntimeError("as from a signal's handler, before the archive's end")

torch.serialization._open_zipfile_writer_buffer.__exit__ = interrupted
try:
    WholeCheckpoints().save_checkpoint({"weight": torch.zeros(9)}, Path(sys.argv[1]) / "last.ckpt")
except RuntimeError as error:
    print(error)
"""
    root = Path(saving.__file__).parents[2]
    command = [sys.executable, "-c", program, str(tmp_path)]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-500:]
    assert ended.stdout.startswith("as from a signal's handler")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["text", "array", "checkpoint", "questions"])
def test_a_full_disk_is_told_with_the_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / {"text": "a.txt", "array": "a.npy", "checkpoint": "last.ckpt", "questions": "a.safetensors"}[kind]
    path.write_text("old")
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            # As a full disk, without needing one: no file may be larger.
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
            _write(path, kind)
        except OSError as error:
            code = 2 if error.filename == str(path) and error.errno == errno.EFBIG else 4
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
    assert path.read_text() == "old"
    assert _names(tmp_path) == [path.name]


def _write(path: Path, kind: str) -> None:
    if kind == "text":
        write_text(path, "x" * 100_000)
    elif kind == "array":
        write_array(path, np.zeros(100_000))
    elif kind == "checkpoint":
        WholeCheckpoints().save_checkpoint({"weight": torch.zeros(100_000)}, path)
    else:
        with written_whole(path) as temporary:
            save_tensors(temporary, {"weight": torch.zeros(100_000)}, {})
