"""A process that works for another is killed at a pseudo-random moment."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from tests.stress.attack import Attack, Defect, Outcome, Run
from tests.stress.commands import Started, unclean
from tests.stress.world import left_over, must, remove, rerun_fault, shared_world

KINDS = ("fit", "concert")
NUMBERS = (signal.SIGKILL, signal.SIGTERM)


def workers(pid: int) -> list[int]:
    """The processes that a process has started, but for Python's own helper."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    helper = b"resource_tracker"
    return [int(child) for child in found if helper not in Path(f"/proc/{child}/cmdline").read_bytes()]


def kill(run: Run) -> Outcome:
    """Kills one of two: a data-loader worker of `fit`, or a renderer of `concert`."""
    world, random_, failures = shared_world(), random.Random(run.seed), list[str]()
    log, killed = run.folder / "log", 0
    seconds = dict[str, float]()
    for number in range(run.amount):
        name, asked = KINDS[number % 2], NUMBERS[number // 2 % 2]
        out = run.folder / name
        arguments = world.fit(out, "--data.workers", "2", "--if_finished", "skip")
        if name == "concert":
            arguments = world.concert(out, workers=2)
        if name not in seconds:
            began = time.monotonic()
            must(arguments, log)
            seconds[name] = time.monotonic() - began
        remove(out)
        started = Started(arguments, log)
        moment = random_.uniform(0, seconds[name])
        killed += started.kill_one(workers, asked, moment, random_)
        ended = started.ended()
        fault = unclean(ended)
        if not fault and ended.code == 2 and "died, perhaps for lack of memory" not in ended.text:
            fault = f"it is not said why: {ended.text[-200:]}"
        if not fault and ended.code == 2 and [path for path in left_over(out) if not path.endswith((".mp4",))]:
            fault = f"left {left_over(out)}"
        fault = fault or rerun_fault(name, arguments, out, log)
        if not fault and left_over(out):
            fault = f"the rerun left {left_over(out)}"
        if fault:
            failures.append(f"a worker of {name}, {asked.name} after {moment:.2f} s: {fault}")
        run.tell(number + 1)
    return Outcome(run.amount, tuple(failures), {"killed": killed})


ATTACKS = (
    Attack(
        name="worker-killed",
        area="Faults",
        tried="SIGKILL or SIGTERM to a data-loader worker of `fit` or to a renderer of `concert` at a random moment",
        holds="one line with the likely reason, exit code 2, or completion; the rerun equals an uninterrupted run",
        run=kill,
        full=24,
        sample=1,
        unit="kills",
        defects=(
            Defect(
                "a data-loader worker that was killed ended `fit` in a traceback",
                "tests/examples/test_batches.py::test_a_dead_worker_is_told_in_one_line",
                "A full disk, missing memory and a dead worker are one line",
            ),
            Defect(
                "one that was killed while a checkpoint was written, or something was destroyed, still did",
                "tests/examples/test_signals.py::test_a_worker_that_dies_in_any_moment_is_told_in_one_line",
                "one line with the way out, whenever it dies",
            ),
        ),
    ),
)
