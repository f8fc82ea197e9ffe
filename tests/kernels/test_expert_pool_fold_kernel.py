"""How the forward kernel adds rows of a block, and what is copied before it reads, each alone.

R rows of a block, H hidden.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs
# What Triton hands to a kernel has no Python type.

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed: it is there on Linux only")

import triton
import triton.language as tl

from gaussian_moe.kernels.expert_pool.kernel import fold
from gaussian_moe.kernels.expert_pool.layout import MOST_ROWS, near
from tests.kernels.pool_cases import DEVICE, NEEDS


@triton.jit
def folding(
    out_ptr,  # [KEEP ROWS, H]
    block_ptr,  # [R, H]
    KEEP: tl.constexpr,
    FOLD: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    """One block."""
    hidden = tl.arange(0, BLOCK_H)[None, :]
    block = tl.load(block_ptr + tl.arange(0, BLOCK_R)[:, None] * BLOCK_H + hidden)
    folded = fold(block, KEEP, FOLD, ROWS)
    tl.store(out_ptr + tl.arange(0, KEEP * ROWS)[:, None] * BLOCK_H + hidden, folded)


@NEEDS
@pytest.mark.parametrize(("keep", "folded", "rows"), [(1, 2, 8), (2, 1, 4), (2, 4, 2), (4, 2, 1)])
def test_rows_are_folded_by_their_place(keep: int, folded: int, rows: int) -> None:
    block = torch.randn(16, 4, device=DEVICE)
    got = torch.empty(keep * rows, 4, device=DEVICE)
    launched: Any = folding
    launched[(1,)](got, block, KEEP=keep, FOLD=folded, ROWS=rows, BLOCK_R=16, BLOCK_H=4)
    wanted = block.view(-1, keep, folded, rows, 4).sum((0, 2)).flatten(0, 1)
    torch.testing.assert_close(got, wanted)


def test_rows_that_lie_far_apart_are_copied() -> None:
    """A step over a block of them goes into 32 bits, or it would be another row's address."""
    for stride, stays in ((2**31 // MOST_ROWS - 1, True), (2**31 // MOST_ROWS, False)):
        x = torch.empty_strided((2, 4), (stride, 1), device="meta")
        assert (near(x) is x) is stays
        assert near(x).stride(0) == (stride if stays else 4)
