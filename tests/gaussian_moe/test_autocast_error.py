"""What autocast costs, judged against float64: the operators err at most a little more than plain torch does."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from gaussian_moe import TemporalMoE
from tests.gaussian_moe.support import stirred

LENGTHS = torch.tensor([60, 17, 0, 1])


def outcome(moe: TemporalMoE, dtype: torch.dtype | None) -> dict[str, Tensor]:
    """The result, and the gradients of a loss in its own precision."""
    generator = torch.Generator().manual_seed(11)
    wide = next(moe.parameters()).dtype
    question, frames = (torch.randn(shape, generator=generator).to(wide) for shape in ((4, 64), (4, 60, 64)))
    weight = torch.randn(4, 64, generator=generator).to(wide)
    leaves = {"question": question.requires_grad_(), "frames": frames.requires_grad_(), **dict(moe.named_parameters())}
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        pooled = moe(question, frames, lengths=LENGTHS)
    found = torch.autograd.grad((pooled.to(wide) * weight).sum(), list(leaves.values()))
    return {"pooled": pooled.detach(), **dict(zip(leaves, found, strict=True))}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_errors(dtype: torch.dtype) -> None:
    # Every expert is in use, so that rounding changes none: which experts those are is no rounding error.
    moe = stirred(TemporalMoE(64, 5, 5, heads=4, backend="torch"))
    exact = outcome(copy.deepcopy(moe).double(), None)
    plain = outcome(moe, dtype)
    moe.router.backend = moe.router.attention.backend = moe.experts.backend = "auto"
    fused = outcome(moe, dtype)
    assert fused["pooled"].isfinite().all()
    eps = torch.finfo(dtype).eps
    for name, true in exact.items():
        scale = max(float(true.abs().max()), 1e-3)
        ours, theirs = (float((found[name].double() - true).square().mean().sqrt()) / scale for found in (fused, plain))
        assert theirs < 2 * eps, (name, theirs)
        assert ours <= 2 * max(theirs, eps / 4), (name, ours, theirs)
        if name != "pooled":
            assert fused[name].dtype == torch.float32, name
