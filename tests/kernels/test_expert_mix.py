"""The experts' second layer and the mixture: the operator and the aten path against the sum as it reads."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from gaussian_moe.kernels.expert_mix import expert_mix_reference, op
from tests.gaussian_moe.support import assert_close, assert_same_gradients

LEAVES = ("state", "mass", "gates", "weight2", "bias2")


def problem(B: int, S: int, Q: int, K: int, E: int, D: int = 3, H: int = 4) -> tuple[dict[str, Tensor], Tensor]:
    """Differentiable arguments, and experts of which a question may have one twice."""
    shapes = ((B, S, Q, K, H), (B, Q, K), (B, Q, K), (E, D, H), (E, D))
    leaves = {
        name: torch.randn(shape, dtype=torch.float64).requires_grad_()
        for name, shape in zip(LEAVES, shapes, strict=True)
    }
    return leaves, torch.randint(0, E, (B, Q, K))


def as_it_reads(leaves: dict[str, Tensor], indices: Tensor) -> Tensor:
    state, mass, gates, weight2, bias2 = leaves.values()
    second = torch.einsum("bqkdh,bsqkh->bqskd", weight2[indices], state)
    second = second + (mass.unsqueeze(-1) * bias2[indices]).unsqueeze(2)
    return (gates.unsqueeze(2).unsqueeze(-1) * second).sum(3)


def both_ways(leaves: dict[str, Tensor], indices: Tensor) -> dict[str, Tensor]:
    state, mass, gates, weight2, bias2 = leaves.values()
    arguments = (state, mass, gates, indices, weight2, bias2)
    return {"operator": op.expert_mix(*arguments), "aten": expert_mix_reference(*arguments)}


@given(
    B=st.integers(0, 3), S=st.integers(1, 3), Q=st.integers(0, 3), K=st.integers(1, 4), E=st.sampled_from([1, 2, 5, 40])
)
def test_values_and_gradients(B: int, S: int, Q: int, K: int, E: int) -> None:
    leaves, indices = problem(B, S, Q, K, E)
    wanted = as_it_reads(leaves, indices)
    upstream = torch.randn_like(wanted)
    expected = dict(zip(LEAVES, torch.autograd.grad(wanted, list(leaves.values()), upstream), strict=True))
    for got in both_ways(leaves, indices).values():
        assert_close(got, wanted)
        found = torch.autograd.grad(got, list(leaves.values()), upstream)
        assert_same_gradients(dict(zip(LEAVES, found, strict=True)), expected)


def test_opcheck_and_gradcheck() -> None:
    leaves, indices = problem(2, 2, 2, 2, 3)
    state, mass, gates, weight2, bias2 = leaves.values()
    torch.library.opcheck(op.expert_mix, (state, mass, gates, indices, weight2, bias2))
    for turned in (gates, gates.detach().transpose(1, 2).contiguous().transpose(1, 2)):
        arguments = (state, mass, turned, indices, weight2, bias2)
        grad = torch.randn(2, 2, 2, 3, dtype=torch.float64)
        # Graphs are compiled for the strides that the operator announces.
        torch.library.opcheck(op.expert_mix_backward, (grad, *arguments), test_utils=("test_schema", "test_faketensor"))
    assert torch.autograd.gradcheck(
        lambda *x: op.expert_mix(*x[:3], indices, *x[3:]), (state, mass, gates, weight2, bias2)
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_low_precision_errs_no_more_than_aten(dtype: torch.dtype) -> None:
    leaves, indices = problem(4, 1, 1, 3, 7, D=32, H=64)
    narrow = {
        name: leaf.detach().to(torch.float32 if name in ("mass", "gates") else dtype) for name, leaf in leaves.items()
    }
    exact = as_it_reads({name: leaf.double() for name, leaf in narrow.items()}, indices)
    errors = {way: (got.double() - exact).norm() for way, got in both_ways(narrow, indices).items()}
    assert errors["operator"] <= 1.1 * errors["aten"]


def test_matrices_that_nobody_uses_are_not_read() -> None:
    leaves, _ = problem(2, 1, 1, 2, 5)
    indices = torch.tensor([[[1, 3]], [[3, 3]]])
    spoilt = {name: leaf.detach().clone() for name, leaf in leaves.items()}
    spoilt["weight2"][[0, 2, 4]] = torch.nan
    assert_close(both_ways(spoilt, indices)["operator"], as_it_reads(leaves, indices))


def test_flops_are_counted() -> None:
    leaves, indices = problem(2, 3, 2, 2, 5)
    state, mass, gates, weight2, bias2 = leaves.values()
    op.count_flops()
    with FlopCounterMode(display=False) as counter:
        mixed = op.expert_mix(state, mass, gates, indices, weight2, bias2)
    assert counter.get_total_flops() == 2 * 2 * 2 * 3 * (3 * 2 * 4 + 5)
    with FlopCounterMode(display=False) as counter:
        torch.autograd.grad(mixed.sum(), state)
    assert counter.get_total_flops() == 4 * 2 * 2 * 3 * (3 * 2 * 4 + 5)


@pytest.mark.parametrize(
    ("clips", "top_k", "experts", "few"),
    [(4, 1, 13, True), (4, 1, 12, False), (2, 2, 13, True), (1, 5, 99, False), (5, 1, 99, False), (1, 1, 4, True)],
)
def test_few_matrices_are_read_alone(clips: int, top_k: int, experts: int, few: bool) -> None:
    """Otherwise one product takes all of them."""
    leaves, indices = problem(clips, 1, 1, top_k, experts, D=3, H=4)
    state, mass, gates, weight2, bias2 = (leaf.detach() for leaf in leaves.values())
    with FlopCounterMode(display=False) as counter:
        expert_mix_reference(state, mass, gates, indices, weight2, bias2)
    products = clips * (top_k if few else experts)
    # The biases' product beside it.
    assert counter.get_total_flops() == 2 * products * 3 * 4 + 2 * clips * experts * 3


def test_gradients_of_gradients_are_refused_with_the_way_out() -> None:
    leaves, indices = problem(2, 1, 1, 2, 3)
    mixed = both_ways(leaves, indices)["operator"]
    (grad,) = torch.autograd.grad(mixed.square().sum(), leaves["state"], create_graph=True)
    with pytest.raises(RuntimeError, match=r"expert_mix has no double backward.*backend='torch'"):
        torch.autograd.grad(grad.sum(), leaves["state"])
