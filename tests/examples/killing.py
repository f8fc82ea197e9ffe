"""Kills a command with SIGKILL at random moments, runs it again, and compares what it made with an uninterrupted run.

For commands that write into one folder and go on where they were stopped. Every run writes
to the same path, so that results may name it.

Example:
    kills = kill_and_rerun([sys.executable, "-m", "examples.avqa", "extract", ...], out=Path("features"), times=20)
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

ROOT = Path(__file__).parents[2]
_POLL_S = 0.005


class Kill(NamedTuple):
    """One kill."""

    after: float
    """Seconds from the start of the command."""
    group: bool
    """Whether all its processes were killed, as when a machine dies, or only the one that was started."""
    files: int
    """How many files were there, finished or not, when it was killed."""


def digests(folder: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones too, with a digest of its bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def kill_and_rerun(
    command: Sequence[str],
    out: Path,
    times: int,
    seed: int = 0,
    content: Callable[[Path], Mapping[str, object]] = digests,
    after_kill: Callable[[Path], None] | None = None,
) -> list[Kill]:
    """Runs a command whole once; then, `times` over, from an empty folder: runs it, kills it, runs it again, compares.

    Every second kill falls anywhere between the start and the last file, the others between the first file and the
    last. By turns of two only the started process is killed, or all of its group.

    Args:
        command: the command, which writes into `out`; it is run from the repository's root.
        out: the folder; what is in it is removed.
        times: kills. Runs that end before their moment are not counted.
        seed: of the moments.
        content: what is compared, by name; by default every file's bytes.
        after_kill: looks at the folder after each kill, before the rerun; raises if it finds half a file.

    Raises:
        AssertionError: a run failed, or a rerun gives another result; the differing names are told.
    """
    generator = random.Random(seed)
    first_file, last_file = _run_whole(command, out)
    wanted = content(out)
    kills: list[Kill] = []
    with tqdm(total=times, desc="killing", unit="kill", delay=2) as bar:
        for attempt in range(4 * times):
            if len(kills) == times:
                break
            anywhere, group = attempt % 2 == 1, attempt % 4 > 1
            seconds = generator.uniform(0, last_file if anywhere else last_file - first_file)
            _remove(out)
            killed = _run_and_kill(command, out, seconds, group, waits=not anywhere)
            if killed is None:
                continue
            kills.append(killed)
            bar.update()
            if after_kill is not None:
                after_kill(out)
            _run(command)
            _compare(content(out), wanted, killed)
    assert len(kills) == times, f"{len(kills)} of {times} kills came before the end of the command"
    return kills


def _compare(got: Mapping[str, object], wanted: Mapping[str, object], killed: Kill) -> None:
    differing = sorted(name for name in got.keys() | wanted.keys() if got.get(name) != wanted.get(name))
    assert not differing, f"after {killed} the rerun differs in {', '.join(differing)}"


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}"


def _run_whole(command: Sequence[str], out: Path) -> tuple[float, float]:
    """Seconds to the first file and to the last change of a folder."""
    _remove(out)
    start = time.monotonic()
    changes: list[float] = []
    seen = 0
    with _started(command) as process:
        while process.poll() is None:
            if (changed := _last_change(out)) > seen:
                seen = changed
                changes.append(time.monotonic() - start)
            time.sleep(_POLL_S)
    assert process.returncode == 0, f"{' '.join(command)} ended with {process.returncode}"
    assert changes, f"{' '.join(command)} wrote nothing into {out}"
    return changes[0], changes[-1]


def _run_and_kill(command: Sequence[str], out: Path, seconds: float, group: bool, waits: bool) -> Kill | None:
    """Kills after `seconds`, which count from the first file where it `waits`; None where the run ended before."""
    start = time.monotonic()
    with _started(command) as process:
        while waits and not _count(out) and process.poll() is None:
            time.sleep(_POLL_S)
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            if group:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
            return Kill(time.monotonic() - start, group, _count(out))
    assert process.returncode == 0, f"{' '.join(command)} ended with {process.returncode}"
    return None


def _started(command: Sequence[str]) -> subprocess.Popen[bytes]:
    # A group of its own, so that the killed group is not the test's.
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=ROOT, stdout=quiet, stderr=quiet, start_new_session=True)


def _count(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def _last_change(folder: Path) -> int:
    """When a folder last gained or lost a file; 0 where there is none."""
    return max((Path(path).stat().st_mtime_ns for path, _, files in os.walk(folder) if files), default=0)


def _remove(folder: Path) -> None:
    # A worker whose parent was killed may still be ending, and write once more.
    for _ in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{folder} cannot be removed: processes of a killed run still write into it")
