"""Whitened features have a covariance of one on the components that are kept."""

from __future__ import annotations

import pytest
import torch

from examples.avqa.whitening import FeatureWhitening, Whitening


def _samples(count: int = 4000) -> torch.Tensor:
    """Correlated, off centre, of widths 1 to 10."""
    rotation: torch.Tensor = torch.linalg.qr(torch.randn(10, 10)).Q
    return torch.randn(count, 10) * torch.arange(1.0, 11) @ rotation + 100


@pytest.mark.parametrize("components", [1, 4, 10])
def test_the_covariance_of_the_samples_is_one(components: int) -> None:
    whitening, samples = Whitening(10, components), _samples()
    whitening.fit(samples)
    white = whitening(samples).double()
    assert white.shape == (4000, components)
    assert white.mean(0).abs().max() < 1e-2
    covariance = white.T.cov() if components > 1 else white.T.cov().view(1, 1)
    # The floor is 0.1 % of a mean variance of 38.5, and the narrowest direction's is 1.
    assert torch.allclose(covariance, torch.eye(components, dtype=torch.float64), atol=0.05)
    assert torch.allclose(covariance - covariance.diag().diag(), torch.zeros_like(covariance), atol=1e-3)


def test_the_widest_directions_are_kept() -> None:
    samples = torch.randn(2000, 3) * torch.tensor([1.0, 50.0, 5.0])
    whitening = Whitening(3, 2)
    whitening.fit(samples)
    assert whitening.matrix.abs().argmax(dim=0).tolist() == [1, 2]


def test_channels_that_say_nothing_become_zero() -> None:
    whitening = Whitening(4, 4)
    whitening.fit(torch.full((7, 4), 3.0))
    assert torch.equal(whitening(torch.full((2, 4), 3.0)), torch.zeros(2, 4))


def test_one_sample_and_fewer_samples_than_channels_are_finite() -> None:
    for count in (1, 3):
        whitening = Whitening(10, 10)
        whitening.fit(torch.randn(count, 10))
        assert whitening(torch.randn(5, 10)).isfinite().all()


def test_it_is_part_of_the_state() -> None:
    fitted, loaded = (FeatureWhitening({"audio": 10, "video": 3}, {"audio": 4}) for _ in range(2))
    samples = _samples()
    fitted.fit({"audio": samples, "video": torch.randn(5, 3)})
    loaded.load_state_dict(fitted.state_dict())
    assert torch.equal(loaded("audio", samples), fitted("audio", samples))
    assert not torch.equal(loaded("audio", samples), samples[:, :4])


def test_kinds_that_are_not_named_pass_through() -> None:
    whitening = FeatureWhitening({"audio": 10, "video": 3}, {"audio": 4})
    features = torch.randn(2, 3)
    assert whitening("video", features) is features
    assert whitening.dims == {"audio": 4, "video": 3}


def test_nothing_is_trained() -> None:
    assert list(FeatureWhitening({"audio": 10}, {"audio": 4}).parameters()) == []


@pytest.mark.parametrize(
    ("components", "message"),
    [({"sound": 4}, "sound"), ({"audio": 11}, "1 ... 10 components"), ({"audio": 0}, "got 0")],
)
def test_unknown_kinds_and_impossible_numbers_are_refused(components: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureWhitening({"audio": 10}, components)
