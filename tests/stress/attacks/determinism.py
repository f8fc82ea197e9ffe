"""The same seed gives the same bits: in another process, after a stop; and how far with another number of threads."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.examples.stopping import stopped_before_batch
from tests.examples.test_resume import RUN, assert_same_run
from tests.examples.tiny_run import TRAINER, TinyData, train_tiny, write_data

from ..attack import Attack, Defect, Outcome, Run

ROOT = Path(__file__).resolve().parents[3]


def _bits(threads: int, number: int) -> Mapping[str, str]:
    """The parts' digests from a process of its own, with another order of hashes and another place in memory."""
    environment = os.environ | {"PYTHONHASHSEED": str(number + 1), "UNUSED": "x" * (997 * number)}
    command = [sys.executable, "-m", "tests.stress.bits", str(threads)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-1000:]}")
    found: Mapping[str, str] = json.loads(done.stdout)
    return found


def _processes(given: Run) -> Outcome:
    """With one thread and with two in turn; those with as many threads are compared."""
    first = dict[int, Mapping[str, str]]()
    failures = []
    for number in range(given.amount):
        threads = 1 + number % 2
        found = _bits(threads, number)
        wanted = first.setdefault(threads, found)
        failures += [f"{part} differs with {threads} threads" for part in wanted if found[part] != wanted[part]]
        given.tell(number + 1)
    measured: dict[str, str | int | float] = {}
    if len(first) == 2:
        alike = [part for part in first[1] if first[1][part] == first[2][part]]
        measured["parts with the same bits on 1 and 2 threads"] = f"{len(alike)} of {len(first[1])}"
    return Outcome(given.amount, tuple(failures), measured)


def _resumed(given: Run) -> Outcome:
    """A tiny training run, stopped one to three times at batches that are drawn, beside one that never was."""
    draw, data = random.Random(given.seed), write_data(given.folder / "data")
    whole = dict[int | None, Path]()
    failures = []
    for number in range(given.amount):
        accumulated = draw.choice((None, 3))
        options: dict[str, Any] = dict(RUN)
        if accumulated is not None:
            trainer = replace(TRAINER, max_epochs=3, accumulate_grad_batches=accumulated, checkpoint_steps=1)
            options["trainer"] = trainer
        if accumulated not in whole:
            whole[accumulated] = train_tiny(data, given.folder / f"whole-{accumulated}", **options)
        run = given.folder / f"run-{number}"
        stops = sorted(draw.sample(range(1, 12), draw.randint(1, 3)))
        _stop(data, run, options, stops)
        try:
            assert_same_run(train_tiny(data, run, **options), whole[accumulated])
        except AssertionError as error:
            failures.append(f"stopped before batches {stops}, {accumulated} batches accumulated: {error}")
        shutil.rmtree(run)
        given.tell(number + 1)
    return Outcome(given.amount, tuple(failures))


def _stop(data: TinyData, run: Path, options: dict[str, Any], stops: list[int]) -> None:
    """Each is counted from the start of the run; what was accumulated is done again."""
    done = 0
    for stop in stops:
        if stop > done:
            with stopped_before_batch(stop - done):
                train_tiny(data, run, **options)
            every = options["trainer"].accumulate_grad_batches
            # An epoch's last batches, four an epoch, are a step of their own.
            whole = stop // 4 * 4
            done = whole + (stop - whole) // every * every


ATTACKS = (
    Attack(
        "determinism-processes",
        "Determinism",
        "forward and backward passes of every layer with dropout and noise, in processes of their own with 1 and 2 "
        "threads",
        "the same bits for as many threads",
        _processes,
        full=12,
        sample=2,
        unit="processes",
        defects=(
            Defect(
                "with PyTorch's deterministic algorithms a padding mask was an error on CUDA",
                "tests/gaussian_moe/test_deterministic.py::test_no_operation_is_without_a_deterministic_algorithm",
                "A padding mask uses no running sum of floats",
            ),
            Defect(
                "where few experts are in use, float32 gradients of their first layer differed with two threads",
                "tests/gaussian_moe/test_deterministic.py::test_threads_of_a_cpu_add_in_the_same_order",
                "float32 gradients of their first layer are the same bits every time",
            ),
        ),
    ),
    Attack(
        "determinism-resume",
        "Determinism",
        "training runs with dropout and noise, stopped one to three times before any batch and resumed",
        "metrics, weights, optimizer and schedule are those of an undisturbed run to the last bit",
        _resumed,
        full=16,
        sample=1,
        unit="runs",
    ),
)
