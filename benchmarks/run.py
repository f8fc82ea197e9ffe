"""Verifies and measures experiments, and records each as soon as it is done."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence

from .cases import Experiment
from .implementations import Computation
from .measure import Call, flops, timings
from .memory import Budget, peak_bytes
from .problem import precision
from .record import Recording, Row
from .verify import check


def run(
    experiments: Sequence[Experiment],
    recording: Recording,
    device: str,
    *,
    chosen: Callable[[str], bool] = lambda name: True,
    max_gib: float | None = None,
    minutes: float | None = None,
) -> int:
    """Measures what is not recorded yet; progress goes to standard error.

    Args:
        experiments: what to measure.
        recording: where to.
        device: "cpu" or "cuda".
        chosen: which implementations take part.
        max_gib: implementations that would need more are left out and recorded as such; by default 80 % of what is
            free.
        minutes: after these no further case is begun.

    Returns:
        1 where an implementation got no number because it failed or its result is wrong, else 0.
    """
    budget = Budget(device, max_gib)
    started, faults = time.monotonic(), 0
    for number, experiment in enumerate(experiments, 1):
        gradients = {name: experiment.needs_gradients(name) for name in experiment.implementations if chosen(name)}
        left_out = budget.left_out(experiment.case, gradients)
        gradients = {name: wanted for name, wanted in gradients.items() if name not in left_out}
        if recording.has(experiment, gradients, left_out):
            continue
        if minutes is not None and time.monotonic() - started > 60 * minutes:
            _tell(f"{minutes:g} minutes are over: the same command goes on with case {number} of {len(experiments)}")
            break
        case_started = time.monotonic()
        rows = [
            Row(experiment.suite, experiment.case, name, recording.commit, left_out=reason)
            for name, reason in left_out.items()
        ]
        rows += measure(experiment, gradients, device, recording.commit)
        faults += sum(row.fault is not None for row in rows)
        recording.replace(experiment, rows)
        _tell(
            f"[{number}/{len(experiments)}] {experiment.suite} {experiment.case}: {_told(rows)} "
            f"({time.monotonic() - case_started:.0f} s)"
        )
    return 1 if faults else 0


def measure(experiment: Experiment, gradients: Mapping[str, bool], device: str, commit: str) -> list[Row]:
    """The rows of the named implementations; one with a wrong result gets its fault in place of numbers.

    Args:
        experiment: what is measured.
        gradients: by implementation, whether its gradients are verified too.
        device: "cpu" or "cuda".
        commit: recorded with each row.
    """

    rows: dict[str, Row] = {}
    right: list[Computation] = []
    with precision(experiment.case):
        for each in check(experiment, gradients, device):
            row = rows[each.name] = Row(experiment.suite, experiment.case, each.name, commit, fault=each.fault)
            if each.fault is None and each.computation is not None and each.errors is not None:
                right.append(each.computation)
                row.output_error, row.gradient_error = each.errors.output, each.errors.gradients
        for which in experiment.passes:
            able = [computation for computation in right if which in computation.passes]
            for computation, timing in zip(able, timings([_call(each, which) for each in able]), strict=True):
                rows[computation.name].times[which] = timing
        for computation in right:
            row = rows[computation.name]
            if computation.name in experiment.memory:
                row.memory = peak_bytes(computation.both, device)
            if experiment.flops and computation.eager:
                row.flops = flops(computation.recorded)
    return list(rows.values())


def _call(computation: Computation, which: str) -> Call:
    if which == "backward":
        return Call(computation.backward, prepare=computation.recorded)
    run_whole = computation.forward if which == "forward" else computation.both
    return Call(lambda nothing: run_whole())


def _told(rows: Sequence[Row]) -> str:
    """Each implementation's first time, or why it has none."""
    told = []
    for row in rows:
        if row.reason is not None:
            told.append(f"{row.implementation} NO NUMBER ({row.reason})")
        elif row.times:
            told.append(f"{row.implementation} {1e3 * next(iter(row.times.values())).median:.3g} ms")
        elif row.memory is not None:
            told.append(f"{row.implementation} {row.memory / 2**20:.3g} MiB")
    return ", ".join(told)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
