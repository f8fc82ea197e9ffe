"""Peak memory of one call, and what a case will need.

B batch, T frames, D channels, H hidden, E experts, K experts in use.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from .cases import Case
from .problem import TORCH_DTYPES

GIB = 2**30
SHARE = 0.8
"""Of the memory that is free, how much may be planned with."""


def peak_bytes(call: Callable[[], Iterable[Tensor]], device: str) -> int:
    """The most memory that one call holds at a time, beyond what was there before and what it returns.

    On a CPU every allocation of the call's thread is seen, temporaries of torch's own C++ code too. The call should
    have run before, so that nothing is counted which is set up once.
    """
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        returned = list(call())
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() - before
    else:
        # Kineto would announce each profile on standard error.
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            returned = list(call())
        peak = _highest(profiled)
    return peak - _held(returned)


def _highest(profiled: profile) -> int:
    assert profiled.profiler is not None
    assert profiled.profiler.kineto_results is not None
    # Any: torch's stubs lack nbytes.
    events: list[Any] = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    allocated = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        allocated += event.nbytes()
        highest = max(highest, allocated)
    return highest


def _held(tensors: Iterable[Tensor]) -> int:
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


class Budget:
    """How much memory an implementation may need.

    Args:
        device: "cpu" or "cuda".
        max_gib: the limit, by default 80 % of what is free now.
    """

    def __init__(self, device: str, max_gib: float | None = None) -> None:
        self._limit = SHARE * _available_bytes(device) if max_gib is None else max_gib * GIB

    def left_out(self, case: Case, gradients: Mapping[str, bool]) -> dict[str, str]:
        """The implementations that would need more, with what they need; `gradients` says who runs a backward pass."""
        needs = {name: estimated_bytes(case, name, backward) for name, backward in gradients.items()}
        return {
            name: f"needs about {need / GIB:.1f} GiB, {self._limit / GIB:.1f} GiB may be used"
            for name, need in needs.items()
            if need > self._limit
        }


def estimated_bytes(case: Case, implementation: str, gradients: bool) -> int:
    """About what an implementation needs at its peak, inputs and the comparison with float64 included.

    Rough, on the safe side: it decides what is left out because memory would not suffice.
    """
    B, T, D, E, K = case.B, case.T, case.D, case.E, case.K
    H, item = D // 2, TORCH_DTYPES[case.dtype].itemsize
    frames = B * T * D
    if implementation.startswith("published"):
        stored = B * T * (2 * E * H + 2 * E * D + 2 * K * D) + 3 * frames
    else:
        stored = B * T * (E if 2 * K >= E else K) * H * 2 + frames
    # Frames, their gradient, and both in float64 with a copy for their difference.
    compared = frames * (2 * item + (4 * 8 if gradients else 0))
    return stored * item * (2 if gradients else 1) + compared


def _available_bytes(device: str) -> int:
    """Memory that can be had now; on Linux what the system could free counts too."""
    if device == "cuda":
        free: int = torch.cuda.mem_get_info()[0]
        return free
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
