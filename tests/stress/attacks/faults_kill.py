"""Kills with SIGKILL at pseudo-random moments; the rerun has to give what an uninterrupted run gives."""

from __future__ import annotations

import functools
import random
import signal
from collections.abc import Sequence

from tests.stress.attack import Attack, Outcome, Run
from tests.stress.commands import Started
from tests.stress.world import TASKS, remove, rerun_fault, shared_world, uninterrupted


def kill(names: Sequence[str], run: Run) -> Outcome:
    """Kills commands, in turn, each time after another part of their computing time."""
    world, out, log = shared_world(), run.folder / "out", run.folder / "log"
    random_, failures, killed = random.Random(run.seed), list[str](), 0
    for number in range(run.amount):
        name = names[number % len(names)]
        task, whole = TASKS[name], uninterrupted(name)
        arguments, moment = task.arguments(world, out), random_.uniform(0, whole.cpu_s)
        remove(out)
        started = Started(arguments, log)
        killed += started.send_after(moment, signal.SIGKILL, group=True)
        started.ended()
        fault = None
        try:
            task.check(out)
        except Exception as error:  # of many kinds: whatever cannot read half a file
            fault = f"half a file: {error}"
        fault = fault or rerun_fault(name, arguments, out, log)
        if fault:
            failures.append(f"{name} killed after {moment:.3f} s of computing: {fault}")
        run.tell(number + 1)
    return Outcome(run.amount, tuple(failures), {"killed before their end": killed})


ATTACKS = tuple(
    Attack(
        name=f"kill-{names[0]}",
        area="Faults",
        tried=f"`kill -9` of {' or '.join(f'`{name}`' for name in dict.fromkeys(names))} at a random moment",
        holds=f"no half file; the same command again gives every {what} of an uninterrupted run",
        run=functools.partial(kill, names),
        full=full,
        sample=1,
        unit="kills",
    )
    for names, full, what in (
        (("fit",), 40, "weight, moment and metric"),
        (("pack",), 100, "byte"),
        (("extract", "extract", "extract", "concert"), 48, "byte"),
    )
)
