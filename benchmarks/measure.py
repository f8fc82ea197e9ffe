"""Times and FLOPs of computations."""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

REPEATS = 9
SHORTEST_SAMPLE = 2e-2
"""Seconds: shorter calls are timed several in a row, so that the clock and a late wake-up matter little."""
MOST_CALLS = 1000


@dataclass(frozen=True)
class Call:
    """What is timed, and what has to be done anew before each call and is not."""

    run: Callable[[Any], object]
    prepare: Callable[[], Any] = lambda: None


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: median, 20th and 80th percentile of the samples."""

    median: float
    low: float
    high: float


def timings(calls: Sequence[Call], repeats: int = REPEATS) -> list[Timing]:
    """Times the calls in turn, so that whatever else the machine does meets all of them alike.

    Each turn has another order, always the same ones: caches and threads remember who ran before.
    """
    counts = []
    for call in calls:
        _sample(call, 1)
        counts.append(min(math.ceil(SHORTEST_SAMPLE / _sample(call, 1)), MOST_CALLS))
    samples: list[list[float]] = [[] for _ in calls]
    # A collection in the middle of a sample would be charged to whoever is being timed.
    gc.disable()
    try:
        turns = random.Random(0)
        for _ in range(repeats):
            for place in turns.sample(range(len(calls)), len(calls)):
                samples[place].append(_sample(calls[place], counts[place]))
    finally:
        gc.enable()
    return [summary(each) for each in samples]


def summary(samples: Sequence[float]) -> Timing:
    """Median, 20th and 80th percentile, linear between the samples."""
    tenths = quantiles(samples, n=10, method="inclusive")
    return Timing(median=tenths[4], low=tenths[1], high=tenths[7])


def flops(call: Callable[[], object]) -> int:
    """Floating-point operations of one call, counted on aten operations."""
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def _sample(call: Call, count: int) -> float:
    """Seconds of one call, the mean of `count` in a row."""
    if count > 1:
        # A short call finds in the caches what ran before it: that should be itself, not another implementation.
        for _ in range(count):
            call.run(call.prepare())
    prepared = [call.prepare() for _ in range(count)]
    prepared.reverse()
    _synchronize()
    start = time.perf_counter()
    for _ in range(count):
        call.run(prepared.pop())
    _synchronize()
    return (time.perf_counter() - start) / count


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
