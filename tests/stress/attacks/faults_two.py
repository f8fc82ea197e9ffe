"""Two processes that are given the same command for the same folder."""

from __future__ import annotations

import random

from tests.stress.attack import Attack, Defect, Outcome, Run
from tests.stress.commands import Started, command, unclean
from tests.stress.world import TASKS, left_over, remove, shared_world, uninterrupted

SHARED = ("extract",)
"""Folders that several processes may fill together."""


def both(run: Run) -> Outcome:
    """Starts the second once the first has computed for a random part of its time."""
    world, random_, failures = shared_world(), random.Random(run.seed), list[str]()
    refused = 0
    for number in range(run.amount):
        name = list(TASKS)[number % len(TASKS)]
        task, out = TASKS[name], run.folder / name
        arguments = task.arguments(world, out)
        whole = uninterrupted(name)
        remove(out)
        first = Started(arguments, run.folder / "first")
        moment = random_.uniform(0, whole.cpu_s / 2)
        first.send_after(moment, 0)
        second = Started(arguments, run.folder / "second")
        ends = [first.ended(), second.ended()]
        fault = next(filter(None, (unclean(ended, [0] if name in SHARED else [0, 2]) for ended in ends)), None)
        told = [ended for ended in ends if ended.code == 2]
        refused += len(told)
        if not fault and (len(told) == 2 or any("at this moment; wait for it" not in ended.text for ended in told)):
            fault = f"one has to finish, and the other to be told: {[ended.text[-200:] for ended in ends]}"
        if not fault and left_over(out):
            fault = f"left {left_over(out)}"
        if not fault and task.content(out) != whole.content:
            fault = "together they made something else"
        again = command(arguments, run.folder / "log")
        fault = fault or unclean(again, [0])
        if fault:
            failures.append(f"two of {name}, the second after {moment:.3f} s of computing: {fault}")
        run.tell(number + 1)
    return Outcome(run.amount, tuple(failures), {"told to wait": refused})


ATTACKS = (
    Attack(
        name="two-at-once",
        area="Faults",
        tried="two processes of `fit`, `pack`, `extract` or `concert` in one folder, the second at a random moment",
        holds="two of `extract` share the work; of others the second is told who is at it; the result is that of one",
        run=both,
        full=40,
        sample=2,
        unit="pairs",
        defects=(
            Defect(
                "two trainings in one folder wrote over each other's checkpoints",
                "tests/examples/test_locks.py::test_the_second_is_told_who_is_there",
            ),
        ),
    ),
)
