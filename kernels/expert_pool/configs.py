"""Which block sizes each kernel of expert pooling gets on which device: static, so that no call measures or waits.

A larger block reads less for the same product and takes more registers: one of 16-bit numbers on sm_90 leaves none
over. Every row compiles without spills for the forms that `compilations.py` lists. Other sizes and
strides are brought into these first (`layout.py`); not every combination of lengths, times and masks is listed.

B batch, S streams, G routed experts of one clip, T frames, D channels, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch


class Config(NamedTuple):
    """Blocks of frames, hidden units and channels; warps of a program; depth of its pipeline."""

    block_t: int
    block_h: int
    block_d: int
    warps: int
    stages: int


# By target and kind of product (see `kind`), blocks of frames from long to short.
FORWARD: dict[tuple[str, str], tuple[Config, ...]] = {
    ("sm_75", "half"): (Config(64, 64, 16, 8, 2),),
    ("sm_75", "ieee"): (Config(128, 64, 8, 8, 2), Config(64, 64, 8, 8, 2)),
    ("sm_80", "half"): (Config(128, 128, 32, 8, 4), Config(64, 128, 32, 4, 4)),
    ("sm_80", "tf32"): (Config(128, 128, 16, 8, 4), Config(64, 128, 16, 4, 4)),
    ("sm_80", "ieee"): (Config(128, 64, 8, 8, 3), Config(64, 64, 16, 4, 3)),
    ("sm_90", "half"): (Config(256, 128, 32, 8, 5), Config(128, 128, 64, 8, 3), Config(64, 128, 64, 4, 3)),
    ("sm_90", "tf32"): (Config(128, 128, 32, 8, 4), Config(64, 128, 32, 4, 3)),
    ("sm_90", "ieee"): (Config(128, 64, 8, 8, 3), Config(64, 32, 8, 4, 3)),
    ("sm_100", "half"): (Config(128, 128, 32, 8, 4), Config(64, 128, 32, 4, 4)),
    ("sm_100", "tf32"): (Config(128, 128, 16, 8, 4), Config(64, 128, 32, 8, 3)),
    ("sm_100", "ieee"): (Config(128, 64, 8, 8, 3), Config(64, 64, 16, 4, 3)),
    ("gfx942", "half"): (Config(128, 128, 32, 8, 2), Config(64, 128, 32, 4, 2)),
    ("gfx942", "ieee"): (Config(128, 128, 16, 8, 2), Config(64, 64, 32, 4, 2)),
    # Small, so that small tests have several blocks along every axis.
    ("interpreter", "ieee"): (Config(16, 32, 16, 1, 1),),
}

# A pass that saves no bits has registers to spare for a deeper block of channels.
_FORWARD_WITHOUT_BITS: dict[tuple[str, str], tuple[Config, ...]] = {
    ("sm_90", "half"): (Config(256, 128, 64, 8, 3), *FORWARD["sm_90", "half"][1:]),
}

_FRAMES: dict[tuple[str, str], tuple[Config, ...]] = {
    ("sm_75", "half"): (Config(64, 32, 32, 4, 2),),
    ("sm_75", "ieee"): (Config(64, 32, 32, 4, 2),),
    ("sm_80", "half"): (Config(128, 64, 64, 8, 3), Config(64, 64, 64, 4, 3)),
    ("sm_80", "tf32"): (Config(128, 32, 64, 8, 3), Config(64, 32, 64, 4, 3)),
    ("sm_80", "ieee"): (Config(64, 32, 32, 4, 2),),
    ("sm_90", "half"): (Config(128, 64, 128, 8, 3), Config(64, 32, 128, 4, 4)),
    ("sm_90", "tf32"): (Config(128, 32, 64, 8, 3), Config(64, 32, 64, 4, 3)),
    ("sm_90", "ieee"): (Config(64, 32, 32, 4, 2),),
    ("sm_100", "half"): (Config(64, 32, 128, 4, 3),),
    ("sm_100", "tf32"): (Config(128, 32, 64, 8, 3), Config(64, 32, 64, 4, 3)),
    ("sm_100", "ieee"): (Config(64, 32, 32, 4, 2),),
    ("gfx942", "half"): (Config(128, 32, 128, 8, 2), Config(64, 32, 128, 4, 2)),
    ("gfx942", "ieee"): (Config(128, 32, 64, 8, 2), Config(64, 32, 64, 4, 2)),
    ("interpreter", "ieee"): (Config(16, 32, 16, 1, 1),),
}

_EXPERTS: dict[tuple[str, str], Config] = {
    ("sm_75", "half"): Config(32, 64, 64, 8, 2),
    ("sm_75", "ieee"): Config(16, 64, 32, 4, 2),
    ("sm_80", "half"): Config(32, 128, 128, 8, 3),
    ("sm_80", "tf32"): Config(32, 128, 64, 8, 3),
    ("sm_80", "ieee"): Config(32, 64, 64, 8, 2),
    ("sm_90", "half"): Config(64, 128, 256, 8, 3),
    ("sm_90", "tf32"): Config(32, 128, 64, 8, 3),
    ("sm_90", "ieee"): Config(32, 64, 64, 8, 2),
    ("sm_100", "half"): Config(64, 128, 256, 8, 3),
    ("sm_100", "tf32"): Config(32, 128, 64, 8, 3),
    ("sm_100", "ieee"): Config(32, 64, 64, 8, 2),
    ("gfx942", "half"): Config(32, 128, 128, 8, 2),
    ("gfx942", "ieee"): Config(32, 128, 64, 8, 2),
    ("interpreter", "ieee"): Config(16, 32, 16, 1, 1),
}


@cache
def target(device: torch.device) -> str:
    """The target whose configurations the device gets: its own, or the nearest one below with as much shared memory."""
    if device.type == "cpu":
        return "interpreter"
    if torch.version.hip:
        return "gfx942"
    major, _ = torch.cuda.get_device_capability(device)
    # sm_120 has neither the tensor memory nor the shared memory of sm_100.
    return {7: "sm_75", 8: "sm_80", 9: "sm_90", 10: "sm_100"}.get(major, "sm_80" if major > 7 else "sm_75")


def granule(target: str) -> int:
    """What sizes and strides of frames and experts are multiples of; small tests keep sizes that no block divides."""
    return 1 if target == "interpreter" else 16


@cache
def processors(device: torch.device) -> int:
    """How many programs the device runs at once, at the least. The interpreter runs one."""
    return 1 if device.type == "cpu" else torch.cuda.get_device_properties(device).multi_processor_count


def kind(dtype: torch.dtype, target: str) -> str:
    """The products of a dtype: "half" of 16 bits, "tf32" or "ieee" for float32 as PyTorch is set and the target can."""
    if target == "interpreter":
        return "ieee"
    if dtype in (torch.bfloat16, torch.float16):
        return "half"
    return "tf32" if target in ("sm_80", "sm_90", "sm_100") and _tf32_allowed() else "ieee"


def _tf32_allowed() -> bool:
    matmul = torch.backends.cuda.matmul
    # Before PyTorch 2.9 there is only allow_tf32, and from then on to read it can raise.
    precision = getattr(matmul, "fp32_precision", None)
    return bool(matmul.allow_tf32) if precision is None else precision == "tf32"


def forward(target: str, kind: str, bits: bool) -> tuple[Config, ...]:
    """For the forward kernel, with or without bits to save; long blocks of frames first."""
    return FORWARD[target, kind] if bits else _FORWARD_WITHOUT_BITS.get((target, kind), FORWARD[target, kind])


def fold(target: str, kind: str, config: Config) -> tuple[int, int, int]:
    """KEEP, FOLD and ROWS of `kernel.fold`: which rows of a product one thread holds. Wrong ones are right but slow."""
    if target == "interpreter":
        return 2, 2, 2
    if target == "gfx942":
        return 64, 1, 1
    if kind == "ieee" or target == "sm_75":
        return config.block_t, 1, 1
    return 2 if target == "sm_80" else min(config.warps, config.block_t // 16), 2, 8


def frames(target: str, kind: str) -> tuple[Config, ...]:
    """For the gradient of frames; long blocks of frames first."""
    return _FRAMES[target, kind]


def experts(target: str, kind: str) -> Config:
    """For the gradients of W1 and b1."""
    return _EXPERTS[target, kind]


def summing(target: str) -> Config:
    """For the gradient of weights, which has no product: hidden units go by words of 32, channels not at all."""
    return Config(16 if target == "interpreter" else 128, 32, 1, 4, 2)


def blocks(size: int, block: int) -> int:
    """How many blocks cover that size."""
    return -(-size // block)


def pick(
    configs: tuple[Config, ...], num_frames: int, programs: Callable[[Config], int], device: torch.device
) -> Config:
    """The longest block of frames that is not mostly empty and keeps the device busy, else the shortest.

    `programs` says how many programs there are for one block of frames.
    """
    for config in configs:
        busy = programs(config) * blocks(num_frames, config.block_t) >= processors(device)
        if config.block_t < 2 * num_frames and busy:
            return config
    return configs[-1]


def shares(work: int, programs: int, device: torch.device) -> int:
    """Into how many parts to cut what each of so many programs does, at most `work`, to keep the device busy."""
    return max(1, min(work, blocks(processors(device), max(programs, 1))))
