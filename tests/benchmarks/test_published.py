"""The baseline computes what the layer computes."""

from __future__ import annotations

import pytest
import torch

from benchmarks.published import PublishedMoE
from gaussian_moe import TemporalMoE


@pytest.mark.parametrize(("experts", "top_k"), [(7, 7), (10, 3)])
def test_the_published_computation_is_the_layers(experts: int, top_k: int) -> None:
    layer = TemporalMoE(16, experts, top_k, heads=4, dropout=0.0, backend="torch").double()
    question, frames = torch.randn(3, 16).double(), torch.randn(3, 20, 16).double()
    ours, theirs = layer(question, frames), PublishedMoE(layer)(question, frames)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    grad, their_grad = (
        torch.autograd.grad(result.square().sum(), layer.experts.weight1)[0] for result in (ours, theirs)
    )
    assert torch.allclose(grad, their_grad, rtol=0, atol=1e-10)
