"""How layers begin: Kaiming-normal linear maps, LayerNorms at 1 and 0, at construction and whenever they are reset."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gaussian_moe import (
    GaussianExpert,
    PatchFusion,
    ProgressiveRefiner,
    QuestionFusion,
    QuestionRouter,
    TemporalMoE,
)
from gaussian_moe.attention import Attention

LAYERS = [
    GaussianExpert,
    QuestionRouter,
    lambda dim: QuestionRouter(dim, num_gaussians=2, learned_anchors=True),
    lambda dim: TemporalMoE(dim, num_streams=2),
    QuestionFusion,
    PatchFusion,
    ProgressiveRefiner,
]


def assert_kaiming(weight: Tensor, bias: Tensor) -> None:
    assert not bias.any()
    for matrix in weight if weight.dim() == 3 else (weight,):
        assert matrix.std().item() == pytest.approx(math.sqrt(2 / matrix.shape[1]), rel=0.12)
        # A normal distribution, and no uniform one: of that nothing lies beyond 1.8 standard deviations.
        assert matrix.abs().max() > 2.2 * matrix.std()


def assert_initialised(layer: nn.Module) -> None:
    plain = {id(module.out_proj): module.out_proj for module in layer.modules() if isinstance(module, Attention)}
    for module in layer.modules():
        if isinstance(module, GaussianExpert):
            assert_kaiming(module.weight1, module.bias1)
            assert_kaiming(module.weight2, module.bias2)
        elif isinstance(module, nn.LayerNorm):
            assert bool((module.weight == 1).all())
            assert not module.bias.any()
        elif isinstance(module, nn.Linear) and id(module) not in plain:
            assert_kaiming(module.weight, module.bias)
        elif isinstance(module, Attention):
            assert not module.in_proj_bias.any()
            assert not module.out_proj.bias.any()
            bound = math.sqrt(6 / (module.in_proj_weight.shape[0] + module.dim))
            assert module.in_proj_weight.abs().max().item() == pytest.approx(bound, rel=0.01)
            assert module.out_proj.weight.abs().max().item() == pytest.approx(module.dim**-0.5, rel=0.01)
        elif isinstance(module, QuestionRouter):
            assert module.slots.tolist() == list(range(module.num_experts))
            if module.anchor is not None:
                assert bool((module.anchor.diff(dim=0) > 0).all())


@pytest.mark.parametrize("make", LAYERS)
def test_at_construction_and_when_reset(make: Callable[[int], Any]) -> None:
    layer = make(128)
    assert_initialised(layer)
    with torch.no_grad():
        for tensor in (*layer.parameters(), *layer.buffers()):
            tensor.fill_(7)
    with pytest.raises(AssertionError):
        assert_initialised(layer)
    layer.reset_parameters()
    assert_initialised(layer)


@pytest.mark.parametrize("make", LAYERS)
def test_built_on_the_meta_device_and_reset(make: Callable[[int], Any]) -> None:
    with torch.device("meta"):
        layer = make(128)
    layer = layer.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*layer.parameters(), *layer.buffers()):
            tensor.fill_(7)
    layer.reset_parameters()
    assert_initialised(layer)
