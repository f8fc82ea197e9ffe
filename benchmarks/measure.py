"""Times and FLOPs of one computation."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import quantiles

import torch
from torch.utils.flop_counter import FlopCounterMode

REPEATS = 9


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: median, 20th and 80th percentile."""

    median: float
    low: float
    high: float


def timings(calls: list[Callable[[], object]]) -> list[Timing]:
    """Times calls in turn, so that whatever else the machine does meets all of them alike."""
    for call in calls:
        call()
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(REPEATS):
        for place, call in enumerate(calls):
            _synchronize()
            start = time.perf_counter()
            call()
            _synchronize()
            seconds[place].append(time.perf_counter() - start)
    return [_timing(samples) for samples in seconds]


def flops(call: Callable[[], object]) -> int:
    """Floating-point operations of one call, counted on aten operations."""
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def _timing(samples: list[float]) -> Timing:
    tenths = quantiles(samples, n=10, method="inclusive")
    return Timing(median=tenths[4], low=tenths[1], high=tenths[7])


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
