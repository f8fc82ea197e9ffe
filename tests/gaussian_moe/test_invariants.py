"""What may be done to experts, times and their units without changing a result."""

from __future__ import annotations

import copy

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gaussian_moe import TemporalMoE
from gaussian_moe.functional import gaussian_weights
from tests.gaussian_moe.support import assert_close, small_moe

NUM_EXPERTS = 7


def permuted(moe: TemporalMoE, order: Tensor) -> TemporalMoE:
    """A copy whose expert i is expert order[i] of the layer, with its gate, its Gaussian, its anchor."""
    moe = copy.deepcopy(moe)
    router, experts = moe.router, moe.experts
    with torch.no_grad():
        for parameter in (*experts.parameters(), *router.gate.parameters()):
            parameter.copy_(parameter[order].clone())
        for parameter in router.gaussian.parameters():
            pairs = parameter.view(NUM_EXPERTS, 2, *parameter.shape[1:])[order].flatten(0, 1)
            parameter.copy_(pairs.clone())
        router.slots.copy_(router.slots[order].clone())
    return moe


@given(order=st.permutations(range(NUM_EXPERTS)), top_k=st.sampled_from([1, 3, 7]))
def test_permuted_experts_change_nothing(order: list[int], top_k: int) -> None:
    moe = small_moe(NUM_EXPERTS, top_k).double()
    question, frames = torch.randn(3, 16, dtype=torch.float64), torch.randn(3, 9, 16, dtype=torch.float64)
    pooled, routing = moe(question, frames, return_routing=True)
    other, other_routing = permuted(moe, torch.tensor(order))(question, frames, return_routing=True)
    assert_close(other, pooled)
    assert_close(other_routing.centers, routing.centers)
    assert torch.equal(torch.tensor(order)[other_routing.indices], routing.indices)


def test_permuting_without_the_anchors_changes_the_result() -> None:
    moe = small_moe(NUM_EXPERTS, 3)
    question, frames = torch.randn(3, 16), torch.randn(3, 9, 16)
    other = permuted(moe, torch.arange(NUM_EXPERTS).flip(0))
    other.router.slots.copy_(moe.router.slots)
    assert (other(question, frames) - moe(question, frames)).abs().max() > 1e-2


@given(
    shift=st.floats(-1e6, 1e6),
    scale=st.floats(1e-3, 1e6),
    lasting=st.sampled_from([None, 1.0, 2.5]),
    length=st.integers(1, 9),
)
def test_the_unit_and_the_origin_of_times_do_not_matter(
    shift: float, scale: float, lasting: float | None, length: int
) -> None:
    moe = small_moe()
    question, frames = torch.randn(2, 16), torch.randn(2, 9, 16)
    times = torch.rand(2, 9, dtype=torch.float64).sort(-1).values
    lengths = torch.tensor([9, length])
    wanted = moe(question, frames, times=times, duration=lasting, lengths=lengths)
    duration = None if lasting is None else lasting * scale
    got = moe(question, frames, times=times * scale + shift, duration=duration, lengths=lengths)
    # The shift rounds the times to 1e6 * 2e-16 of their unit; at the smallest scale that is 2e-7 of the clip, of a
    # Gaussian of 0.01 as much as 2e-5 of its slope.
    assert_close(got, wanted, 2e-4)


@given(length=st.integers(1, 40), start=st.floats(-100, 100), step=st.floats(0.01, 100))
def test_even_times_are_no_times(length: int, start: float, step: float) -> None:
    centers, stds = torch.rand(1, 3, dtype=torch.float64), torch.full((1, 3), 0.05, dtype=torch.float64)
    frames = torch.zeros(1, length, 1, dtype=torch.float64)
    times = start + step * torch.arange(length, dtype=torch.float64)
    assert_close(gaussian_weights(centers, stds, frames, times=times), gaussian_weights(centers, stds, frames), 1e-7)


def test_whole_timestamps_since_the_epoch_keep_their_resolution() -> None:
    """Milliseconds as int64: in float32 all frames of a clip would stand at one time."""
    centers, stds, frames = torch.tensor([[0.3]]), torch.tensor([[0.1]]), torch.zeros(1, 5, 1)
    times = 1_700_000_000_000 + 40 * torch.arange(5)
    assert_close(gaussian_weights(centers, stds, frames, times=times), gaussian_weights(centers, stds, frames), 1e-6)


def test_duration_longer_than_the_times() -> None:
    """Frames of the first half of a clip: a center in the second half is nearest to the last of them."""
    weights = gaussian_weights(
        torch.tensor([[0.25, 0.9]]),
        torch.tensor([[0.1, 0.1]]),
        torch.zeros(1, 3, 1),
        times=torch.tensor([10.0, 20.0, 30.0]),
        duration=torch.tensor([40.0]),
    )
    assert weights.argmax(-1).tolist() == [[1, 2]]
    assert_close(weights[0, 0], torch.tensor([-0.5 * 2.5**2, 0.0, -0.5 * 2.5**2]).exp(), 1e-6)
