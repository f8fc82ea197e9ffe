"""Where the time of our training step goes, by part of the model, forward and backward."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

PARTS = {
    "audio_projection": "projections",
    "video_projection": "projections",
    "patch_projection": "projections",
    "words_projection": "projections",
    "question_projection": "projections",
    "fusion": "fusion",
    "patch_fusion": "patches",
    "audio_moe": "audio mixture",
    "visual_moe": "visual mixture",
    "refiner": "refiner",
    "head": "head",
}
"""Our model's children, and the part that each belongs to. Loss and optimizer name themselves."""
REST = "rest"
MARK = "part: "
BACKWARD = "autograd::engine::evaluate_function: "
STEPS = 3
TOP = 5


@dataclass
class Share:
    """One part in one pass: seconds of a step, and of its most expensive operators, which call nothing counted."""

    part: str
    which: str
    """"forward" or "backward"; the optimizer and the rest are "forward"."""
    seconds: float = 0.0
    operators: list[tuple[str, float, int]] = field(default_factory=list)
    """Name, seconds and calls of one step, the most expensive first."""


def shares(step: Callable[[], None], model: nn.Module, device: str) -> list[Share]:
    """Profiles a few steps: on a GPU the time of its kernels, on a CPU that of the operators themselves.

    Every operator of the forward pass is charged to the part whose `forward` it runs in, and every operator of the
    backward pass to the part that made its node of the graph, which the profiler's sequence numbers tell.
    """
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    # Kineto would announce each profile on standard error.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with _marked(model):
        step()
        with profile(activities=activities) as recorded:
            for _ in range(STEPS):
                step()
    return _grouped(list(recorded.events() or ()), device)


@contextmanager
def _marked(model: nn.Module) -> Iterator[None]:
    """Each part's forward runs in a range of its name."""
    # Any: the methods of a range are untyped in torch.
    open_ranges: list[Any] = []

    def enter(part: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            open_ranges.append(record_function(f"{MARK}{part}"))
            open_ranges[-1].__enter__()

        return hook

    def leave(*_: Any) -> None:
        open_ranges.pop().__exit__(None, None, None)

    handles = []
    for name, part in PARTS.items():
        child = model.get_submodule(name)
        handles += [child.register_forward_pre_hook(enter(part)), child.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _grouped(events: list[Any], device: str) -> list[Share]:
    sequences: list[tuple[int, str]] = []
    for event in events:
        part, node = _origin(event)
        if part is not None and node is None and event.sequence_nr >= 0:
            sequences.append((event.sequence_nr, part))
    sequences.sort()
    numbers = [number for number, _ in sequences]
    seconds: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    calls: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for event in events:
        spent = (event.self_device_time_total if device == "cuda" else event.self_cpu_time_total) * 1e-6
        # Kernels stand in the list beside the operators that launched them.
        if spent <= 0 or event.device_type.name != "CPU":
            continue
        part, node = _origin(event)
        which = "forward" if node is None else "backward"
        if node is not None:
            place = bisect_right(numbers, node) - 1
            part = sequences[place][1] if place >= 0 and node >= 0 else None
        key = (part or REST, which if part else "forward")
        name = event.name.removeprefix(BACKWARD)
        seconds[key][name] += spent / STEPS
        calls[key][name] += 1
    found = [
        Share(
            part,
            which,
            sum(names.values()),
            [(name, spent, round(calls[part, which][name] / STEPS)) for name, spent in names.most_common(TOP)],
        )
        for (part, which), names in seconds.items()
    ]
    return sorted(found, key=lambda share: -share.seconds)


def _origin(event: Any) -> tuple[str | None, int | None]:
    """The part whose range the event is in, and the sequence number of the graph's node that runs it."""
    while event is not None:
        if event.name.startswith(MARK):
            return event.name.removeprefix(MARK), None
        if event.name.startswith(BACKWARD):
            return None, event.sequence_nr
        event = event.cpu_parent
    return None, None
