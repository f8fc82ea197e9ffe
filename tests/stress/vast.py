"""Tensors of more than 2^31 elements of which only a few pages are ever touched, and kernels of which few programs run.

So the addresses that a kernel makes of such sizes are real ones, whoever has no memory for the tensors. For Triton's
interpreter (TRITON_INTERPRET=1).
"""

from __future__ import annotations

import contextlib
import math
import mmap
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from triton.runtime.interpreter import interpreter_builder

PAST = 2**31 + 2**16
"""Elements: an offset of the last does not go into 32 bits."""
_REAL = 2**24
MAP_NORESERVE = 0x4000
"""Of Linux; Python names it from 3.13 on."""


def vast(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Zeros that take no memory until they are written to, and none to be read."""
    size = max(math.prod(shape), 1) * dtype.itemsize
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    return torch.frombuffer(mmap.mmap(-1, size, flags=flags), dtype=dtype)[: math.prod(shape)].view(shape)


def spread(tensor: Tensor, dim: int) -> Tensor:
    """The same values, those along `dim` so far apart that the last lies past 2^31 elements."""
    stride = -(-PAST // (tensor.shape[dim] - 1) // 16) * 16
    others = list(torch.empty_like(tensor.select(dim, 0), device="meta").contiguous().stride())
    strides = [*others[:dim], stride, *others[dim:]]
    assert math.prod(n for d, n in enumerate(tensor.shape) if d != dim) <= stride
    room = vast(stride * (tensor.shape[dim] - 1) + stride, dtype=tensor.dtype)
    return room.as_strided(tensor.shape, strides).copy_(tensor)


@contextlib.contextmanager
def vast_memory() -> Iterator[None]:
    """Large tensors that are made inside take no memory."""
    made = {name: getattr(torch, name) for name in ("empty", "zeros")}

    def make(name: str) -> Callable[..., Tensor]:
        def one(*size: Any, **options: Any) -> Tensor:
            shape = size[0] if size and isinstance(size[0], (tuple, list, torch.Size)) else size
            if math.prod(shape) * options.get("dtype", torch.float32).itemsize < _REAL:
                result: Tensor = made[name](*size, **options)
                # Not written is then 0 wherever it lies.
                return result.zero_()
            return vast(*shape, dtype=options["dtype"])

        return one

    replaced: dict[str, Any] = {name: make(name) for name in made}
    with patch.multiple(torch, **replaced):
        yield


class Last:
    """A kernel of whose programs only the last ones run, so many along the first axis and one along the others."""

    def __init__(self, kernel: Any, count: int = 1) -> None:
        self.kernel, self.count = kernel, count

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        whole = (*grid, 1, 1)[:3]
        count = min(self.count, whole[0])
        set_dim, set_index = interpreter_builder.set_grid_dim, interpreter_builder.set_grid_idx
        start = (whole[0] - count, whole[1] - 1, whole[2] - 1)

        def run(*args: Any, **options: Any) -> None:
            with (
                patch.object(interpreter_builder, "set_grid_dim", lambda *_: set_dim(*whole)),
                patch.object(interpreter_builder, "set_grid_idx", lambda x, y, z: set_index(x + start[0], *start[1:])),
            ):
                if count:
                    self.kernel[(count,)](*args, **options)

        return run
