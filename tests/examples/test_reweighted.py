"""Uniform pooling is the same mixture with every valid frame's weight at 1."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from examples.avqa.reweighted import UniformMoE
from gaussian_moe import TemporalMoE
from tests.gaussian_moe.support import stirred


def _pair(**kwargs: Any) -> tuple[TemporalMoE, UniformMoE]:
    gaussian = stirred(TemporalMoE(16, 4, 2, 2, **kwargs)).eval()
    uniform = UniformMoE(16, 4, 2, 2, **kwargs).eval()
    uniform.load_state_dict(gaussian.state_dict())
    return gaussian, uniform


def _inputs(frames: int = 5) -> tuple[Tensor, Tensor]:
    return torch.randn(3, 16), torch.randn(3, frames, 16)


@pytest.mark.parametrize("streams", [0, 2])
def test_it_is_the_mixture_with_weights_of_one(streams: int) -> None:
    gaussian, uniform = _pair(num_streams=streams)
    question, frames = _inputs()
    others = {"streams": (torch.randn(3, 5, 16), torch.randn(3, 5, 16))} if streams else {}
    routing = gaussian.router(question, frames)
    assert routing.weights is not None
    ones = routing._replace(weights=torch.ones_like(routing.weights))
    wanted = gaussian(question, frames, routing=ones, **others)
    assert torch.equal(uniform(question, frames, **others), wanted)
    assert not torch.allclose(gaussian(question, frames, **others), wanted, atol=1e-3)


def test_the_routing_it_returns_has_its_own_weights_and_the_routers_gates() -> None:
    gaussian, uniform = _pair()
    question, frames = _inputs()
    _, routing = uniform(question, frames, return_routing=True)
    assert torch.equal(routing.weights, torch.ones(3, 2, 5))
    assert torch.equal(routing.gates, gaussian.router(question, frames).gates)


@pytest.mark.parametrize("by", ["mask", "lengths"])
def test_padding_changes_nothing(by: str) -> None:
    _, uniform = _pair()
    question, frames = _inputs()
    padded = torch.cat((frames, torch.full((3, 2, 16), 1e3)), dim=1)
    lengths = torch.tensor([5, 5, 5])
    how = {"lengths": lengths} if by == "lengths" else {"key_padding_mask": torch.arange(7) >= lengths[:, None]}
    pooled, routing = uniform(question, padded, return_routing=True, **how)
    assert torch.allclose(pooled, uniform(question, frames), atol=1e-5)
    assert torch.equal(routing.weights[:, :, 5:], torch.zeros(3, 2, 2))


def test_a_frame_far_from_every_gaussian_counts_all_the_same() -> None:
    _, uniform = _pair()
    question, frames = _inputs(frames=40)
    before = uniform(question, frames)
    frames[:, 0] += 1
    frames[:, -1] += 1
    assert (uniform(question, frames) - before).abs().amax(dim=-1).min() > 1e-4


def test_the_gaussians_get_no_gradient() -> None:
    _, uniform = _pair()
    uniform(*_inputs()).sum().backward()
    without = {name for name, parameter in uniform.named_parameters() if parameter.grad is None}
    assert without
    assert all("gaussian" in name for name in without)
