"""A disk that is full at a pseudo-random byte: a small file system where one can be mounted, a limit of files else."""

from __future__ import annotations

import random
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.stress.attack import Attack, Defect, Outcome, Run
from tests.stress.commands import command, unclean
from tests.stress.world import TASKS, left_over, remove, rerun_fault, shared_world, uninterrupted

WHY = ("the disk is full", "no file may be as large", "GB are free")


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Callable[[], None] | None]:
    """Mounts a file system of this size, and gives what makes it large; None where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    if not _run("mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)):
        yield None
        return
    try:
        yield lambda: _must("mount", "-o", "remount,size=256m", str(folder))
    finally:
        _must("umount", "-l", str(folder))


def _run(*arguments: str) -> bool:
    try:
        return subprocess.run(arguments, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _must(*arguments: str) -> None:
    assert _run(*arguments), f"{' '.join(arguments)} failed"


def fill(run: Run) -> Outcome:
    """Each try another command and size; every second one a limit of a file's size, as a quota has."""
    world, random_, failures = shared_world(), random.Random(run.seed), list[str]()
    log, full, mounted = run.folder / "log", 0, 0
    for number in range(run.amount):
        name = list(TASKS)[number % len(TASKS)]
        task, disk = TASKS[name], run.folder / f"disk-{name}"
        out = disk / "out"
        arguments = task.arguments(world, out)
        whole = uninterrupted(name)
        remove(disk)
        with small_disk(disk, random_.randrange(4, whole.size // 1024 + 8)) as enlarge:
            mounted += enlarge is not None
            limited = None
            if enlarge is None or number // len(TASKS) % 2:
                if enlarge is not None:
                    enlarge()
                size = random_.randrange(1, whole.largest)
                limited = _limit(size)
            ended = command(arguments, log, limited)
            full += ended.code == 2
            fault = unclean(ended)
            if not fault and ended.code and not any(why in ended.text for why in WHY):
                fault = f"it is not said why: {ended.text[-200:]}"
            if not fault and left_over(out):
                fault = f"left {left_over(out)}"
            try:
                task.check(out)
            except Exception as error:  # of many kinds: whatever cannot read half a file
                fault = fault or f"half a file: {error}"
            if enlarge is not None:
                enlarge()
            fault = fault or rerun_fault(name, arguments, out, log)
        if fault:
            failures.append(f"{name}, {number}: {fault}")
        run.tell(number + 1)
    return Outcome(run.amount, tuple(failures), {"full before the end": full, "on a disk of their own": mounted})


def _limit(size: int) -> Callable[[], None]:
    def prepare() -> None:
        # The log of the process is a file too.
        resource.setrlimit(resource.RLIMIT_FSIZE, (max(size, 16384), max(size, 16384)))

    return prepare


ATTACKS = (
    Attack(
        name="disk-full",
        area="Faults",
        tried="`fit`, `pack`, `extract` or `concert` on a disk that is full at a random byte, then with room",
        holds="one line with the reason, exit code 2, no half file, old ones kept; then the same result as elsewhere",
        run=fill,
        full=60,
        sample=2,
        unit="disks",
        defects=(
            Defect(
                "a disk that was full while a checkpoint was written ended `fit` in a traceback",
                "tests/examples/test_files.py::test_a_full_disk_is_told_with_the_file",
                "A full disk, missing memory and a dead worker are one line",
            ),
        ),
    ),
)
