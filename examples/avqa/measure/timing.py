"""Times of calls that take turns, and the memory that one needs."""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import quantiles

import torch
from tqdm import tqdm

WARM_UP = 3
SHORTEST_SAMPLE = 0.2
"""Seconds: shorter calls are timed several in a row."""


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: median, 20th and 80th percentile of the rounds."""

    median: float
    low: float
    high: float


def interleaved(calls: Sequence[Callable[[], object]], rounds: int, device: str) -> list[Timing]:
    """Times the calls in turn, each round in another order, so that whatever else the machine does meets all alike.

    Args:
        calls: what is timed.
        rounds: samples of each, at least 2.
        device: "cpu", or "cuda" for the time between two events of the device's own clock.
    """
    sample = _sample_cuda if device == "cuda" else _sample_cpu
    counts = []
    for call in tqdm(calls, desc="warm-up", leave=False):
        sample(call, WARM_UP)
        counts.append(max(1, math.ceil(SHORTEST_SAMPLE / sample(call, 1))))
    samples: list[list[float]] = [[] for _ in calls]
    order = random.Random(0)
    # A collection in the middle of a sample would be charged to whoever is being timed.
    gc.collect()
    gc.disable()
    try:
        for _ in tqdm(range(rounds), desc="rounds", leave=False):
            for place in order.sample(range(len(calls)), len(calls)):
                samples[place].append(sample(calls[place], counts[place]))
    finally:
        gc.enable()
    return [summary(each) for each in samples]


def summary(samples: Sequence[float]) -> Timing:
    """Median, 20th and 80th percentile, linear between the samples."""
    tenths = quantiles(samples, n=10, method="inclusive")
    return Timing(median=tenths[4], low=tenths[1], high=tenths[7])


def peak_bytes(call: Callable[[], object]) -> int:
    """The most device memory that one call holds at a time, beyond what was there before."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _sample_cpu(call: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def _sample_cuda(call: Callable[[], object], count: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]  # in torch
    # From an idle device on: work that was queued before would be counted.
    torch.cuda.synchronize()
    start.record()
    for _ in range(count):
        call()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1e3 / count
