"""Pseudo-random choices of shapes, clips and numbers at the ends of what is allowed; the same for the same number.

B batch, T frames.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

T_ = TypeVar("T_")
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
LENGTHS = (0, 1, 2, 3, 5, 9, 17, 60, 63, 64, 257, 1025)
LONG = (4097, 65_536)


class Draw(random.Random):
    """One case's choices. Tensors come from a generator of the same seed."""

    def __init__(self, seed: int, number: int) -> None:
        super().__init__(f"{seed}:{number}")
        self.generator = torch.Generator().manual_seed(self.getrandbits(48))

    def one(self, *choices: T_) -> T_:
        """Any of them, alike."""
        return choices[self.randrange(len(choices))]

    def power(self, low: float, high: float) -> float:
        """10 to a power between these."""
        return float(10 ** self.uniform(low, high))

    def normal(self, *shape: int) -> Tensor:
        """float64."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def even(self, *shape: int) -> Tensor:
        """From 0 to 1, float64."""
        return torch.rand(shape, generator=self.generator, dtype=torch.float64)

    def num_frames(self, small: bool) -> int:
        """Now and then a long clip."""
        lengths = [n for n in LENGTHS if n < 100 or not small]
        return self.choice(LONG) if not small and self.random() < 0.03 else self.choice(lengths)


class Clips(NamedTuple):
    """How a batch's frames lie in time, as arguments and as what they mean."""

    mask: Tensor | None  # [B, T] bool
    lengths: Tensor | None  # [B]
    times: Tensor | None  # [B, T]
    duration: float | None
    padding: Tensor  # [B, T] bool

    @property
    def arguments(self) -> dict[str, Any]:
        """For a layer."""
        return {
            "key_padding_mask": self.mask,
            "lengths": self.lengths,
            "times": self.times,
            "duration": self.duration,
        }


def clips(draw: Draw, B: int, T: int, dtype: torch.dtype) -> Clips:
    """With a mask, lengths from 0 on, or neither; evenly spaced, or at times in or out of order, NaN for padding."""
    mask = lengths = times = duration = None
    padding = torch.zeros(B, T, dtype=torch.bool)
    form = draw.one("none", "none", "mask", "lengths")
    if form == "mask":
        mask = padding = draw.even(B, T) < draw.one(0.1, 0.5, 0.97, 1.0)
    elif form == "lengths":
        lengths = torch.tensor([draw.one(0, 1, T // 2, T, draw.randint(0, T)) for _ in range(B)], dtype=torch.int64)
        lengths = lengths.clamp(max=T)
        padding = torch.arange(T) >= lengths.unsqueeze(-1)
    kind = draw.one("even", "even", "sorted", "any", "whole")
    wide = torch.promote_types(dtype, torch.float32)
    if kind != "even" and T:
        offset, rate = draw.one(0.0, 0.0, 3.0, 1e5), draw.one(1.0, 30.0, 1e-3)
        times = (offset + rate * draw.even(B, T).cumsum(-1)).to(wide)
        if kind == "any":
            times = times[:, torch.randperm(T, generator=draw.generator)]
            times[:, ::3] = times.flip(-1)[:, ::3]
        times = times.long() if kind == "whole" else times.masked_fill(padding, torch.nan)
        if draw.random() < 0.3:
            duration = float(rate * T * draw.one(0.5, 1.0, 3.0))
            duration = float(torch.tensor(duration, dtype=wide))
    return Clips(mask, lengths, times, duration, padding)


def shown(x: object) -> str:
    """A case's settings, short."""
    return str(x).replace("torch.", "")
