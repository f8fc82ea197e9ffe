"""Memory that is not enough, at a pseudo-random allocation."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch

from examples.avqa import clips, data, features, pack
from tests.stress.attack import Attack, Defect, Outcome, Run
from tests.stress.commands import command, unclean
from tests.stress.world import TASKS, aftermath, remove, shared_world

ERRORS: tuple[Callable[[], Exception], ...] = (
    MemoryError,
    lambda: RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to allocate "
        "800000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80.00 GiB.\nSee the documentation."),
)
# Where each command allocates most, and about how often a run does so.
WHERE: dict[str, tuple[tuple[Any, str, int], ...]] = {
    "fit": ((data, "together", 24), (features.FeatureFolder, "_read", 18)),
    "pack": ((pack, "_narrowed", 27), (features.FeatureFolder, "_read", 27)),
    "extract": ((clips, "read_audio", 4), (clips, "each_frame", 4)),
}


def lacking(where: tuple[Any, str, int], number: int, error: Callable[[], Exception]) -> Callable[[], None]:
    """Raises in place of the call of this number."""

    def prepare() -> None:
        owner, name, _ = where
        real, done = getattr(owner, name), 0

        def failing(*arguments: Any, **others: Any) -> Any:
            nonlocal done
            done += 1
            if done - 1 == number:
                raise error()
            return real(*arguments, **others)

        setattr(owner, name, failing)

    return prepare


def starve(run: Run) -> Outcome:
    """Each try another command, call and error; with data-loader workers where `fit` has them."""
    world, random_, failures = shared_world(), random.Random(run.seed), list[str]()
    log, lacked = run.folder / "log", 0
    for number in range(run.amount):
        name = list(WHERE)[number % len(WHERE)]
        task, out = TASKS[name], run.folder / name
        arguments = task.arguments(world, out)
        if name == "fit" and number // len(WHERE) % 2:
            arguments = world.fit(out, "--data.workers", "1", "--if_finished", "skip")
        remove(out)
        where, error = random_.choice(WHERE[name]), random_.choice(ERRORS)
        call = random_.randrange(where[2])
        ended = command(arguments, log, lacking(where, call, error))
        lacked += ended.code == 2
        fault = unclean(ended)
        if not fault and ended.code == 2 and "out of memory" not in ended.text:
            fault = f"it is not said why: {ended.text[-200:]}"
        fault = fault or aftermath(name, arguments, out, log)
        if fault:
            failures.append(f"{name}, call {call} of {where[1]}, {error()!r:.40}: {fault}")
        run.tell(number + 1)
    return Outcome(run.amount, tuple(failures), {"lacked memory before the end": lacked})


ATTACKS = (
    Attack(
        name="out-of-memory",
        area="Faults",
        tried="an allocation that fails at a random moment of `fit`, `pack` or `extract`, as numpy, torch or CUDA says",
        holds="one line with what to make smaller, exit code 2, nothing left; the rerun equals an uninterrupted run",
        run=starve,
        full=30,
        sample=2,
        unit="runs",
        defects=(
            Defect(
                "memory that was not enough ended commands in a traceback",
                "tests/examples/test_errors.py::test_lack_of_memory_is_told_with_what_to_make_smaller",
                "A full disk, missing memory and a dead worker are one line",
            ),
        ),
    ),
)
