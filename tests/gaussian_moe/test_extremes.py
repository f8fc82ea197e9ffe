"""Windows over time far narrower and wider than any clip: what is right is finite, on every path."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gaussian_moe.attention import Attention, _held
from gaussian_moe.functional import gaussian_weights
from gaussian_moe.timeline import frame_times

FRAMES = torch.zeros(1, 3, 1)  # at 0, 1/2 and 1


def weights_of(
    center: float, std: float, backend: str, window: str, normalization: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, and the gradients of center and std of the sum of their squares."""
    centers, stds = (torch.tensor([[value]], requires_grad=True) for value in (center, std))
    weights = gaussian_weights(centers, stds, FRAMES, backend=backend, window=window, normalization=normalization)
    by_center, by_std = torch.autograd.grad(weights.square().sum(), [centers, stds])
    return weights.detach().flatten(), by_center, by_std


@pytest.mark.parametrize("backend", ["torch", "auto"])
@pytest.mark.parametrize("window", ["gaussian", "laplace", "box"])
# 1e-15: its square's square overflows; 1e-20: its square does; 1e-42: one over it does; 0: the limit of them all.
@pytest.mark.parametrize("std", [1e-6, 1e-15, 1e-20, 1e-37, 1e-42, 0.0])
def test_windows_narrower_than_any_number_see_the_nearest_frame(backend: str, window: str, std: float) -> None:
    for center, seen in ((0.3, [0.0, 1.0, 0.0]), (-0.5, [1.0, 0.0, 0.0]), (1.5, [0.0, 0.0, 1.0])):
        for normalization in ("peak", "sum"):
            weights, by_center, by_std = weights_of(center, std, backend, window, normalization)
            assert weights.tolist() == seen
            assert by_center.item() == by_std.item() == 0.0
        weights, by_center, by_std = weights_of(center, std, backend, window, "none")
        assert not weights.any()
        assert by_center.item() == by_std.item() == 0.0


@pytest.mark.parametrize("backend", ["torch", "auto"])
@pytest.mark.parametrize("std", [1e-6, 1e-15, 1e-20, 1e-42])
def test_two_nearest_frames_share_a_narrow_window(backend: str, std: float) -> None:
    weights, by_center, by_std = weights_of(0.25, std, backend, "gaussian", "peak")
    assert weights.tolist() == [1.0, 1.0, 0.0]
    # The second frame's weight moves with the center by (t - t_n)/std^2 = 1/2 / std^2, and its square twice as fast;
    # with the std not at all.
    wanted = torch.tensor(std, dtype=torch.float64) ** -2
    assert by_center.item() == pytest.approx(wanted.item(), rel=1e-5) if std > 1e-18 else by_center.isinf().all()
    assert by_std.item() == 0.0


@pytest.mark.parametrize("backend", ["torch", "auto"])
@pytest.mark.parametrize("window", ["gaussian", "laplace", "box"])
def test_a_std_without_a_sign_counts(backend: str, window: str) -> None:
    for one, other in zip(
        weights_of(0.3, 0.2, backend, window, "peak"), weights_of(0.3, -0.2, backend, window, "peak"), strict=True
    ):
        assert torch.equal(one.abs(), other.abs())


def test_a_window_of_any_width_has_the_digits_of_its_dtype() -> None:
    """Heights of a narrow window are large numbers whose difference has few digits; it is not taken from them."""
    center, std = torch.tensor([[0.25 - 2**-20]]), torch.tensor([[2.0**-10]])
    weights = gaussian_weights(center, std, FRAMES, backend="torch")
    # Frames at 0 and 1/2; their squared distances differ by 2^-20.
    wanted = torch.tensor(-(2.0**-20) / 2 / 2.0**-20, dtype=torch.float64).exp()
    assert weights[0, 0, 1].item() == pytest.approx(wanted.item(), rel=4 * torch.finfo(torch.float32).eps)


def test_times_under_a_mask_are_counted_exactly() -> None:
    padding = torch.tensor([[False, True, False, False], [True, True, True, True]])
    places = frame_times(torch.zeros(2, 4, 1), padding)
    assert torch.equal(places, torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 0.0, 0.0]]))


@pytest.mark.parametrize("autocast", [False, True])
def test_large_features_have_scores_that_float16_does_not_hold(autocast: bool) -> None:
    layer = Attention(32, heads=4, dropout=0.0)
    question, frames = 1000 * torch.randn(2, 1, 32), 1000 * torch.randn(2, 60, 32)
    frames[:, 0] = 5 * question[:, 0]
    exact = layer(question, frames)
    leaves = [question, frames]
    if not autocast:
        layer, leaves = layer.half(), [x.half() for x in leaves]
    leaves = [x.requires_grad_() for x in leaves]
    with torch.autocast("cpu", torch.float16, enabled=autocast):
        got = layer(*leaves)
    # One frame has nearly all attention, so that the result is as sure as its value.
    assert (got.float() - exact).abs().max() < 32 * torch.finfo(torch.float16).eps * exact.abs().max()
    assert all(x.isfinite().all() for x in torch.autograd.grad(got.float().mean(), [*leaves, *layer.parameters()]))


def test_usual_features_in_float16_are_not_scaled() -> None:
    queries, source = torch.randn(2, 3, 32).half(), torch.randn(2, 60, 32).half()
    same, large = _held(queries, source)
    assert torch.equal(same, queries)
    assert large is not None
    assert torch.equal(large, torch.ones(2, 3, 1))
