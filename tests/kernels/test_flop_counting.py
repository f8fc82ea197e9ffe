"""PyTorch's FLOP counter knows the operators: also one that already counts, and one of shapes alone."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from gaussian_moe.kernels.expert_mix import op as mix_op
from gaussian_moe.kernels.expert_pool import op as pool_op
from gaussian_moe.kernels.linear import op as linear_op

INDICES = torch.tensor([[0, 2], [1, 1]])
OF_ONE_QUESTION = INDICES.unsqueeze(1)
WEIGHTS = torch.rand(2, 2, 5)
BANK = torch.randn(3, 4, 6), torch.randn(3, 4)


def mix(of: Callable[[Tensor], Tensor]) -> Tensor:
    state, mass = torch.randn(2, 1, 1, 2, 4), torch.rand(2, 1, 2)
    second = torch.randn(3, 6, 4), torch.randn(3, 6)
    mixed: Tensor = mix_op.expert_mix(*map(of, (state, mass, mass, OF_ONE_QUESTION, *second)))
    return mixed


def pool(of: Callable[[Tensor], Tensor]) -> Tensor:
    given = map(of, (torch.randn(2, 1, 5, 6), *BANK, INDICES, WEIGHTS))
    state: Tensor = pool_op.expert_pool(*given, None, None, None, None, None, 0.0, False)[0]
    return state


def linear(of: Callable[[Tensor], Tensor]) -> Tensor:
    mapped: Tensor = linear_op.linear(*map(of, (torch.randn(5, 6), torch.randn(4, 6), torch.randn(4))))
    return mapped


OPERATORS = pytest.mark.parametrize(
    ("op", "name", "call"),
    [(mix_op, "expert_mix", mix), (pool_op, "expert_pool", pool), (linear_op, "linear", linear)],
    ids=["expert_mix", "expert_pool", "linear"],
)


@OPERATORS
def test_a_counter_that_already_counts_learns_the_formulas(op: Any, name: str, call: Callable[..., Tensor]) -> None:
    counter = FlopCounterMode(display=False)
    counter.flop_registry = {}
    with counter:
        call(torch.clone)
        before = counter.get_total_flops()
        op.count_flops()
        call(torch.clone)
    assert counter.get_total_flops() > before
    assert getattr(torch.ops.gaussian_moe, name) in counter.flop_registry


@OPERATORS
def test_a_counter_of_shapes_alone_is_told(
    op: ModuleType, name: str, call: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(op, "count_flops", lambda: told.append(name))
    wanted = call(torch.clone)
    assert not told
    with FakeTensorMode() as fake:
        assert call(fake.from_tensor).shape == wanted.shape
    assert told
