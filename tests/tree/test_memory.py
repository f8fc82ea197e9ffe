"""What the mixture stores where its operators run: nothing with experts times frames times channels.

B clips, T frames, D channels, H hidden, E experts, K experts in use.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks.memory import peak_bytes
from gaussian_moe import TemporalMoE

# Large enough that a CPU takes the operators.
B, T, D = 4, 8192, 64
HIDDEN_LAYER = B * T * (D // 2) * 4
"""Bytes of [B, T, H] in float32: one expert on every frame."""


def peak(num_experts: int, top_k: int, backend: str) -> float:
    """The most memory that forward and backward hold at a time, gradients aside, in hidden layers of one expert."""
    moe = TemporalMoE(D, num_experts, top_k, heads=4, backend=backend).eval()
    question, frames = torch.randn(B, D), torch.randn(B, T, D, requires_grad=True)
    leaves = [frames, *moe.parameters()]

    def call() -> tuple[Tensor, ...]:
        return torch.autograd.grad(moe(question, frames).square().sum(), leaves)

    call()
    return peak_bytes(call, "cpu") / HIDDEN_LAYER


@pytest.mark.parametrize(("num_experts", "top_k"), [(8, 8), pytest.param(16, 16, marks=pytest.mark.slow), (64, 2)])
def test_peak_memory_does_not_grow_with_the_experts(num_experts: int, top_k: int) -> None:
    """A further expert stores its weights over time and pieces that fit the cache, never its hidden layer."""
    assert peak(num_experts, top_k, "auto") - peak(3, 3, "auto") < 1.5


def test_the_plain_path_shows_what_it_would_be() -> None:
    """The check above can fail: with all experts in use plain torch stores each one's hidden layer."""
    assert peak(8, 8, "torch") - peak(3, 3, "torch") > 8 - 3
