"""Holds every implementation against the layer in float64; what disagrees is not timed."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from .agreement import Bounds, Errors
from .cases import Experiment
from .contest import Contest, LayerContest
from .implementations import Computation
from .memory import Budget
from .pool import PoolContest
from .problem import precision


@dataclass(frozen=True)
class Checked:
    """An implementation with its errors against float64, or with the reason why it gets no number."""

    name: str
    computation: Computation | None
    errors: Errors | None
    bounds: Bounds | None
    fault: str | None


def check(experiment: Experiment, gradients: Mapping[str, bool], device: str) -> list[Checked]:
    """Builds the named implementations and holds each against float64, its gradients too where its value is True.

    Everything that will be timed has then run, so that compilation and capture lie behind it.
    """
    torch._dynamo.reset()
    gc.collect()
    contest: Contest = (PoolContest if experiment.suite == "pool" else LayerContest)(experiment.case, device)
    return [_check(contest, *each) for each in gradients.items()]


def _check(contest: Contest, name: str, gradients: bool) -> Checked:
    try:
        computation = contest.make(name)
        errors = contest.errors(computation, gradients)
        bounds = contest.bounds(name, gradients)
    # Whatever one implementation raises, the others are still to be measured.
    except Exception as error:
        said = " ".join(str(error).split())
        return Checked(name, None, None, None, f"{type(error).__name__}: {said[:300]}")
    return Checked(name, computation, errors, bounds, bounds.fault(errors))


def verify(
    experiments: Sequence[Experiment],
    device: str,
    *,
    chosen: Callable[[str], bool] = lambda name: True,
    max_gib: float | None = None,
) -> int:
    """Prints the errors of every implementation in every case, gradients included.

    Args:
        experiments: what to check.
        device: "cpu" or "cuda".
        chosen: which implementations take part.
        max_gib: implementations that would need more are left out, and named; by default 80 % of what is free.

    Returns:
        1 where an implementation failed or disagrees, else 0.
    """
    budget, faults, count = Budget(device, max_gib), 0, 0
    done: set[tuple[object, str]] = set()
    for experiment in experiments:
        kind = (experiment.suite == "pool", experiment.case)
        names = [name for name in experiment.implementations if chosen(name) and (kind, name) not in done]
        gradients = dict.fromkeys(names, experiment.differentiable)
        left_out = budget.left_out(experiment.case, gradients)
        gradients = {name: wanted for name, wanted in gradients.items() if name not in left_out}
        done |= {(kind, name) for name in names}
        if not names:
            continue
        print(experiment.case)
        for name, reason in left_out.items():
            print(f"  {name:<24} left out: {reason}")
        with precision(experiment.case):
            for each in check(experiment, gradients, device):
                count += 1
                faults += each.fault is not None
                print(f"  {each.name:<24} {_told(each)}")
        sys.stdout.flush()
    print(f"{count} results held against float64: {f'{faults} DISAGREE' if faults else 'all agree'}")
    return 1 if faults else 0


def _told(checked: Checked) -> str:
    if checked.errors is None or checked.bounds is None:
        return f"FAILED: {checked.fault}"
    errors, bounds = checked.errors, checked.bounds
    told = f"result {errors.output:.1e} (at most {bounds.output:.1e})"
    if errors.gradients is not None:
        told += f", gradients {errors.gradients:.1e} (at most {bounds.gradients:.1e}; the farthest is {errors.worst})"
    return told if checked.fault is None else f"DISAGREES: {told}"
