"""Kills with SIGKILL at pseudo-random moments; the rerun has to give what an uninterrupted run gives."""

from __future__ import annotations

import functools
import random
import signal

from tests.stress.attack import Attack, Outcome, Run
from tests.stress.commands import Started, command, unclean
from tests.stress.world import TASKS, must, remove, shared_world


def kill(name: str, run: Run) -> Outcome:
    """Kills one command `run.amount` times, each time after another part of its computing time."""
    world, task, out = shared_world(), TASKS[name], run.folder / "out"
    random_, failures = random.Random(run.seed), list[str]()
    arguments = task.arguments(world, out)
    whole = must(arguments, run.folder / "log")
    wanted = task.content(out)
    for number in range(run.amount):
        moment = random_.uniform(0, whole.cpu_s)
        remove(out)
        started = Started(arguments, run.folder / "log")
        started.send_after(moment, signal.SIGKILL, group=True)
        started.ended()
        fault = None
        try:
            task.check(out)
        except Exception as error:
            fault = f"half a file: {error}"
        again = command(arguments, run.folder / "log")
        fault = fault or unclean(again, [0]) or (None if task.content(out) == wanted else "the rerun differs")
        if fault:
            failures.append(f"{name} killed after {moment:.3f} s of computing: {fault}")
        run.tell(number + 1)
    return Outcome(run.amount, tuple(failures), {"computing time of a run in s": round(whole.cpu_s, 2)})


HOLDS = "no half file; the same command again gives every byte of an uninterrupted run"
ATTACKS = tuple(
    Attack(
        name=f"kill-{name}",
        area="Faults",
        tried=f"`kill -9` of `{name}` at a random moment, then the same command",
        holds=HOLDS.replace("byte", "weight, moment and metric") if name == "fit" else HOLDS,
        run=functools.partial(kill, name),
        full=full,
        sample=1,
        unit="kills",
    )
    for name, full in (("fit", 30), ("pack", 100), ("extract", 30), ("concert", 12))
)
