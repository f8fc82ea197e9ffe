"""Two processes that are given the same command for the same folder."""

from __future__ import annotations

import random
import signal
import time
from contextlib import suppress
from pathlib import Path

from examples.avqa.locks import LOCK
from tests.stress.attack import Attack, Defect, Outcome, Run
from tests.stress.commands import Started, command, unclean
from tests.stress.world import TASKS, left_over, remove, shared_world, uninterrupted

SHARED = ("extract",)
"""Folders that several processes may fill together."""
PART_OF_LOCK = 0.1
"""Of a command's computing time, in which the first is halted once it has the folder."""


def both(run: Run) -> Outcome:
    """Starts the second once the first has computed for a random part of its time, or is halted with the folder."""
    world, random_, failures = shared_world(), random.Random(run.seed), list[str]()
    refused, met = 0, 0
    for number in range(run.amount):
        name = list(TASKS)[number % len(TASKS)]
        task, out = TASKS[name], run.folder / name
        arguments = task.arguments(world, out)
        whole = uninterrupted(name)
        remove(out)
        first = Started(arguments, run.folder / "first")
        halted = name not in SHARED and number // len(TASKS) % 2 == 0
        if halted:
            halted = _has(first, out / LOCK)
            moment = first.cpu_s() + random_.uniform(0, PART_OF_LOCK * whole.cpu_s)
            first.send_after(moment, signal.SIGSTOP)
            halted = halted and (out / LOCK).exists()
        else:
            moment = random_.uniform(0, whole.cpu_s / 2)
            first.send_after(moment, 0)
        second = Started(arguments, run.folder / "second")
        ends = [second.ended()] if halted else []
        first.send(signal.SIGCONT)
        ends = [first.ended(), *(ends or [second.ended()])]
        fault = next(filter(None, (unclean(ended, [0] if name in SHARED else [0, 2]) for ended in ends)), None)
        told = [ended for ended in ends if ended.code == 2]
        refused += len(told)
        met += halted
        if not fault and halted and [ended.code for ended in ends] != [0, 2]:
            fault = f"the first has it, and the second was not told: {[ended.text[-200:] for ended in ends]}"
        if not fault and (len(told) == 2 or any("at this moment; wait for it" not in ended.text for ended in told)):
            fault = f"one has to finish, and the other to be told: {[ended.text[-200:] for ended in ends]}"
        if not fault and left_over(out):
            fault = f"left {left_over(out)}"
        if not fault and task.content(out) != whole.content:
            fault = "together they made something else"
        again = command(arguments, run.folder / "log")
        fault = fault or unclean(again, [0])
        if fault:
            failures.append(f"two of {name}, the second after {moment:.3f} s of computing, {halted=}: {fault}")
        run.tell(number + 1)
    if run.amount >= len(TASKS) and not met:
        failures.append("no first one was seen to have its folder")
    return Outcome(run.amount, tuple(failures), {"told to wait": refused, "while the first was halted": met})


def _has(started: Started, lock: Path) -> bool:
    """Waits until a process has the folder of a lock; False where it has ended."""
    while started.runs():
        with suppress(FileNotFoundError):
            # It says who it is once it has it.
            if lock.stat().st_size:
                return True
        time.sleep(0.0005)
    return False


ATTACKS = (
    Attack(
        name="two-at-once",
        area="Faults",
        tried="two processes of `fit`, `pack`, `extract` or `concert` in one folder, the second at a random moment "
        "or while the first is halted in the folder",
        holds="two of `extract` share the work; of others the second is told who is at it; the result is that of one",
        run=both,
        full=40,
        sample=2,
        unit="pairs",
        defects=(
            Defect(
                "two trainings in one folder wrote over each other's checkpoints",
                "tests/examples/test_locks.py::test_the_second_is_told_who_is_there",
                "two trainings wrote over each other's checkpoints",
            ),
        ),
    ),
)
