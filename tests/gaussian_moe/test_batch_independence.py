"""No sample sees another of its batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gaussian_moe import TemporalMoE
from tests.gaussian_moe.support import small_moe

NUM_CLIPS, NUM_FRAMES = 40, 9


def batches(number: int, seed: int) -> list[list[int]]:
    """Random sizes and compositions of batches of the clips."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, NUM_CLIPS, size=rng.integers(2, 12)).tolist() for _ in range(number)]


def largest_difference(moe: TemporalMoE, number: int) -> float:
    question, frames = torch.randn(NUM_CLIPS, 16), torch.randn(NUM_CLIPS, NUM_FRAMES, 16)
    with torch.no_grad():
        alone = torch.cat([moe(question[b : b + 1], frames[b : b + 1]) for b in range(NUM_CLIPS)])
        return max(
            float((moe(question[batch], frames[batch]) - alone[batch]).abs().max()) for batch in batches(number, seed=1)
        )


@pytest.mark.parametrize("top_k", [3, pytest.param(7, marks=pytest.mark.slow)])
def test_a_thousand_batches_equal_one_by_one(top_k: int) -> None:
    assert largest_difference(small_moe(top_k=top_k), 500) < 1e-5


def test_released_expert_order_depends_on_the_batch() -> None:
    """The check above can fail: it does for the published indexing, by more than the outputs' scale."""
    assert largest_difference(small_moe(released=True), 20) > 1.0


def test_neighbours_of_another_length_do_not_matter() -> None:
    moe = small_moe()
    question, frames = torch.randn(NUM_CLIPS, 16), torch.randn(NUM_CLIPS, NUM_FRAMES, 16)
    lengths = torch.arange(NUM_CLIPS).remainder(NUM_FRAMES + 1)
    with torch.no_grad():
        alone = torch.cat(
            [moe(question[b : b + 1], frames[b : b + 1, : int(lengths[b])]) for b in range(NUM_CLIPS)],
        )
        for batch in batches(100, seed=2):
            together = moe(question[batch], frames[batch], lengths=lengths[batch])
            torch.testing.assert_close(together, alone[batch], rtol=0.0, atol=1e-5)


def test_a_sample_gets_no_gradient_from_another() -> None:
    moe = small_moe()
    question, frames = torch.randn(4, 16), torch.randn(4, NUM_FRAMES, 16)
    question.requires_grad_()
    frames.requires_grad_()
    pooled = moe(question, frames)
    (d_question, d_frames) = torch.autograd.grad(pooled[2].square().sum(), (question, frames))
    others = [0, 1, 3]
    assert not d_question[others].any()
    assert not d_frames[others].any()
    assert d_question[2].any()
    assert d_frames[2].any()
