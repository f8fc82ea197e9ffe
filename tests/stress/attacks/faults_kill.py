"""Kills at pseudo-random moments and changes to files; the rerun has to give what an uninterrupted run gives."""

from __future__ import annotations

import functools
import random
import signal
from collections.abc import Iterator, Sequence
from itertools import cycle

from tests.stress.attack import Attack, Defect, Outcome, Run
from tests.stress.changes import Counted, die_at
from tests.stress.commands import Started, command
from tests.stress.world import TASKS, remove, rerun_fault, shared_world, uninterrupted


@functools.cache
def changes(name: str) -> int:
    """How many changes to files an uninterrupted run makes."""
    world, counted = shared_world(), Counted()
    out = world.root.parent / f"counted-{name}"
    ended = command(TASKS[name].arguments(world, out), world.root / "log", counted.prepare)
    assert ended.code == 0, ended.text[-2000:]
    return counted.number


def kill(names: Sequence[str], run: Run) -> Outcome:
    """Kills each command in turn: after a part of its computing time, before a change to a file, within a file."""
    world, out, log = shared_world(), run.folder / "out", run.folder / "log"
    random_, failures, killed = random.Random(run.seed), list[str](), 0
    orders: dict[tuple[str, int], Iterator[int]] = {}
    for number in range(run.amount):
        name, how = names[number // 3 % len(names)], number % 3
        task, whole = TASKS[name], uninterrupted(name)
        arguments = task.arguments(world, out)
        remove(out)
        if how == 0:
            moment = random_.uniform(0, whole.cpu_s)
            started, when = Started(arguments, log), f"after {moment:.3f} s of computing"
            started.send_after(moment, signal.SIGKILL, group=True)
        else:
            if (name, how) not in orders:
                orders[name, how] = cycle(random_.sample(range(changes(name)), changes(name)))
            change = next(orders[name, how])
            # Most files are small.
            size = None if how == 1 else int(random_.choice((100, whole.largest)) ** random_.random())
            when = f"before change {change}" if size is None else f"after {size} bytes of a file, from change {change}"
            started = Started(arguments, log, functools.partial(die_at, change, size))
        ended = started.ended()
        killed += ended.code in (-signal.SIGKILL, -signal.SIGXFSZ)
        fault = None
        try:
            task.check(out)
        except Exception as error:  # of many kinds: whatever cannot read half a file
            fault = f"half a file: {error}"
        fault = fault or rerun_fault(name, arguments, out, log)
        if fault:
            failures.append(f"{name} killed {when}: {fault}")
        run.tell(number + 1)
    return Outcome(run.amount, tuple(failures), {"killed before their end": killed})


_LOCKS = (
    Defect(
        "`pack` and `fit` left the lock of a process that was killed at its very end",
        "tests/examples/test_locks.py::test_a_lock_of_a_killed_process_is_forgotten_and_no_other",
        "The lock of one that was killed at its very end",
    ),
)
ATTACKS = tuple(
    Attack(
        name=f"kill-{names[0]}",
        area="Faults",
        tried=f"`kill -9` of {' or '.join(f'`{name}`' for name in dict.fromkeys(names))} at a random moment, before "
        "any change to a file, or at a random byte of one",
        holds=f"no half file; the same command again gives every {what} of an uninterrupted run",
        run=functools.partial(kill, names),
        full=full,
        sample=3,
        unit="kills",
        defects=defects,
    )
    for names, full, what, defects in (
        (("fit",), 60, "weight, moment and metric", _LOCKS),
        (("pack",), 100, "byte", _LOCKS),
        (("extract", "extract", "extract", "concert"), 72, "byte", ()),
    )
)
