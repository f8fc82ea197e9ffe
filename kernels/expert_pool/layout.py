"""Frames and experts laid out as the kernels' blocks want them; a copy only of what is not.

The compiler loads several numbers at once where it knows that addresses are multiples of 16. Where it does not, the
largest blocks have no registers left for single ones, and what they spill costs more than a copy.

B batch, S streams, G routed experts of one clip, T frames, D channels, H hidden, E experts.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MOST_ROWS = 256
"""Of a block."""


def rounded(size: int, granule: int) -> int:
    """The next multiple."""
    return -(-size // granule) * granule


def laid_out(x: Tensor, sizes: tuple[int, ...], granule: int) -> Tensor:
    """x with its last dimensions that long, filled up with 0; with a granule of 1 x as it is.

    Its last dimension is then without gaps, and rows and storage begin at multiples of the granule.
    """
    if granule == 1:
        return x
    before = x.shape[x.dim() - len(sizes) :]
    if before != sizes:
        missing = [size - old for size, old in zip(sizes, before, strict=True)]
        # Padding alone would keep the order of dimensions in memory.
        return F.pad(x, [number for each in reversed(missing) for number in (0, each)]).contiguous()
    strides = x.stride()
    if strides[-1] == 1 and not any(stride % granule for stride in strides[:-1]) and x.data_ptr() % 16 == 0:
        return x
    return x.clone(memory_format=torch.contiguous_format)


def near(x: Tensor) -> Tensor:
    """x, copied where its rows lie so far apart that a step over a block of them does not go into 32 bits."""
    return x if x.stride(-2) * MOST_ROWS < 2**31 else x.contiguous()
