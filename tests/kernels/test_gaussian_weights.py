"""The Gaussian weights against the published form, and what that form cannot do."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gaussian_moe.functional import gaussian_weights
from gaussian_moe.kernels.gaussian_weights import gaussian_weights_reference, reciprocal
from tests.kernels.marks import slow_when_interpreted


def published(centers: Tensor, stds: Tensor, times: Tensor) -> Tensor:
    """The density over its largest sampled value, which underflows to 0/0 for a Gaussian between two frames."""
    centers, stds = centers.unsqueeze(-1), stds.unsqueeze(-1)
    density = (-0.5 * ((times.unsqueeze(-2) - centers) / stds).square()).exp() / (stds * math.sqrt(2 * math.pi))
    return density / density.amax(-1, keepdim=True)


def test_one_over_a_mass_of_nothing_is_nothing() -> None:
    mass = torch.tensor([0.0, 2.0], requires_grad=True)
    assert reciprocal(mass).tolist() == [0.0, 0.5]
    (gradient,) = torch.autograd.grad(reciprocal(mass).sum(), mass)
    assert gradient.tolist() == [0.0, -0.25]


@given(
    num_frames=st.integers(2, 60),
    center=st.floats(0, 1),
    std=st.floats(0.01, 1 / 9),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_published_form_where_it_is_finite(num_frames: int, center: float, std: float, dtype: torch.dtype) -> None:
    centers, stds = torch.tensor([[center]], dtype=dtype), torch.tensor([[std]], dtype=dtype)
    times = torch.linspace(0, 1, num_frames, dtype=dtype)
    wanted = published(centers, stds, times)
    got = gaussian_weights_reference(centers, stds, times)
    assert got.isfinite().all()
    assert bool((got.amax(-1) == 1.0).all())
    # Below the smallest normal number the published form has too few bits to compare.
    nearest = (times - center).abs().min() / std
    if nearest < (8 if dtype == torch.float32 else 30):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-4 if dtype == torch.float32 else 1e-11)


def test_published_form_is_nan_where_ours_is_not() -> None:
    centers, stds, times = torch.tensor([[0.5]]), torch.tensor([[0.01]]), torch.linspace(0, 1, 4)
    assert published(centers, stds, times).isnan().all()
    assert gaussian_weights_reference(centers, stds, times)[0, 0, 1:3].tolist() == pytest.approx([1.0, 1.0], abs=1e-3)


@slow_when_interpreted
@given(
    num_frames=st.integers(1, 12),
    questions=st.integers(1, 3),
    padded=st.lists(st.booleans(), min_size=12, max_size=12),
    seed=st.integers(0, 99),
)
def test_weights_peak_at_exactly_one(num_frames: int, questions: int, padded: list[bool], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    centers = torch.rand(1, questions, 4, generator=generator)
    stds = 0.01 + 0.1 * torch.rand(1, questions, 4, generator=generator)
    times = torch.rand(1, num_frames, generator=generator).sort(-1).values
    mask = torch.tensor([padded[:num_frames]])
    weights = gaussian_weights(centers, stds, torch.zeros(1, num_frames, 1), key_padding_mask=mask, times=times)
    peak = 0.0 if bool(mask.all()) else 1.0
    assert torch.equal(weights.amax(-1), torch.full((1, questions, 4), peak))
    assert not weights[..., mask[0]].any()


@pytest.mark.parametrize("padding", [None, torch.tensor([[False, False, True, False, True], [True] * 5])])
def test_gradcheck(padding: Tensor | None) -> None:
    centers = torch.tensor([[0.13, 0.61, 0.96], [0.3, 0.5, 0.7]], dtype=torch.float64, requires_grad=True)
    stds = torch.tensor([[0.11, 0.2, 0.3], [0.05, 0.1, 0.2]], dtype=torch.float64, requires_grad=True)
    times = torch.tensor([[0.0, 0.2, 0.5, 0.8, 1.0], [0.0, 0.25, 0.4, 0.75, 1.0]], dtype=torch.float64)

    def weights(centers: Tensor, stds: Tensor) -> Tensor:
        return gaussian_weights_reference(centers, stds, times, padding)

    assert torch.autograd.gradcheck(weights, (centers, stds))


def test_of_equal_maxima_the_first_takes_the_gradient() -> None:
    """Two frames as far from the center as each other; the second's weight falls as the center moves to the first."""
    center = torch.tensor([[0.5]], dtype=torch.float64, requires_grad=True)
    std = torch.tensor([[0.125]], dtype=torch.float64)
    weights = gaussian_weights_reference(center, std, torch.tensor([0.25, 0.75], dtype=torch.float64))
    assert weights.tolist() == [[[1.0, 1.0]]]
    (first,) = torch.autograd.grad(weights[0, 0, 0], center, retain_graph=True)
    (second,) = torch.autograd.grad(weights[0, 0, 1], center)
    assert first.item() == 0.0
    # d/dc of (t2 - c)^2 and (t1 - c)^2 differ by 2 (t2 - t1), over 2 std^2.
    assert second.item() == pytest.approx(0.5 / 0.125**2)


def test_gradient_goes_through_the_maximum() -> None:
    """A frame's weight is relative to the nearest frame's, so the slope has both of their distances in it."""
    center = torch.tensor([[0.3]], dtype=torch.float64, requires_grad=True)
    std = torch.tensor([[0.2]], dtype=torch.float64)
    weights = gaussian_weights_reference(center, std, torch.tensor([0.0, 0.4], dtype=torch.float64))
    (slope,) = torch.autograd.grad(weights[0, 0, 0], center)
    assert slope.item() == pytest.approx(weights[0, 0, 0].item() * (0.0 - 0.4) / 0.04)


def test_a_clip_without_valid_frames_has_weight_and_gradient_zero() -> None:
    centers = torch.rand(2, 3, requires_grad=True)
    stds = torch.full((2, 3), 0.05, requires_grad=True)
    padding = torch.tensor([[True, True], [False, True]])
    weights = gaussian_weights_reference(centers, stds, torch.tensor([0.0, 1.0]), padding)
    assert not weights[0].any()
    weights.sum().backward()  # type: ignore[no-untyped-call]  # torch's own signature
    assert centers.grad is not None
    assert stds.grad is not None
    assert not centers.grad.any()
    assert not stds.grad.any()


def test_low_precision_centers_are_widened() -> None:
    frames = torch.zeros(1, 60, 1, dtype=torch.bfloat16)
    weights = gaussian_weights(torch.tensor([[0.5]], dtype=torch.bfloat16), torch.tensor([[0.0625]]), frames)
    assert weights.dtype == torch.float32
    exact = gaussian_weights(torch.tensor([[0.5]]), torch.tensor([[0.0625]]), frames.double())
    torch.testing.assert_close(weights.double(), exact, rtol=0, atol=1e-5)
