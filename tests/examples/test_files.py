"""Files are whole or not there, and what killed processes left is swept up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples.avqa import files
from examples.avqa.files import process_runs, sweep_temporaries, write_text, written_whole


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
