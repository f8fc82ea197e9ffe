"""The factored expert pool against its definition, forward and every gradient, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from gaussian_moe.functional import gaussian_expert_pool
from gaussian_moe.kernels import runtime
from gaussian_moe.kernels.expert_pool import expert_pool_factored, expert_pool_reference
from tests.gaussian_moe.support import assert_close, assert_same_gradients, gradients
from tests.kernels.marks import slow_when_interpreted

# The arguments are passed by name from a dictionary of tensors.
pool: Callable[..., Tensor] = gaussian_expert_pool
factored: Callable[..., Tensor] = expert_pool_factored
reference: Callable[..., Tensor] = expert_pool_reference
DIM, HIDDEN, OUT = 5, 4, 3


def leaf(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64).requires_grad_()


def leaves(clips: int, frames: int, num_experts: int, asked: tuple[int, ...], top_k: int) -> dict[str, Tensor]:
    """Differentiable arguments; the experts' result has another width than the frames, so that no two mix up."""
    return {
        "frames": leaf(clips, frames, DIM),
        "gates": leaf(clips, *asked, top_k),
        "weights": leaf(clips, *asked, top_k, frames),
        "weight1": leaf(num_experts, HIDDEN, DIM),
        "bias1": leaf(num_experts, HIDDEN),
        "weight2": leaf(num_experts, OUT, HIDDEN),
        "bias2": leaf(num_experts, OUT),
    }


def routed(clips: int, num_experts: int, asked: tuple[int, ...], top_k: int) -> Tensor:
    return torch.rand(clips, *asked, num_experts).argsort(-1)[..., :top_k]


@slow_when_interpreted
@given(
    clips=st.integers(0, 4),
    frames=st.integers(0, 7),
    # The first branch needs half of the experts or more, the second fewer.
    experts=st.sampled_from([(1, 1), (2, 1), (7, 1), (7, 3), (7, 4), (7, 7), (9, 2)]),
    released=st.booleans(),
)
def test_one_question(clips: int, frames: int, experts: tuple[int, int], released: bool) -> None:
    num_experts, top_k = experts
    arguments, indices = leaves(clips, frames, num_experts, (), top_k), routed(clips, num_experts, (), top_k)
    wanted = reference(**arguments, indices=indices, released_order=released)
    got = pool(**arguments, indices=indices, released_expert_order=released)
    assert_close(got, wanted)
    if clips and frames:
        assert_same_gradients(gradients(got, arguments), gradients(wanted, arguments))


@slow_when_interpreted
@given(
    clips=st.integers(0, 3),
    questions=st.integers(0, 3),
    frames=st.integers(0, 5),
    experts=st.sampled_from([(1, 1), (9, 1), (9, 2), (7, 7)]),
)
def test_many_questions(clips: int, questions: int, frames: int, experts: tuple[int, int]) -> None:
    num_experts, top_k = experts
    arguments = leaves(clips, frames, num_experts, (questions,), top_k)
    indices = routed(clips, num_experts, (questions,), top_k)
    got = pool(**arguments, indices=indices)
    assert got.shape == (clips, questions, OUT)
    for q in range(questions):
        one = {**arguments, "gates": arguments["gates"][:, q], "weights": arguments["weights"][:, q]}
        assert_close(got[:, q], reference(**one, indices=indices[:, q]))


@slow_when_interpreted
@pytest.mark.parametrize(("num_experts", "top_k", "released"), [(3, 2, False), (5, 2, False), (3, 2, True)])
def test_gradcheck(num_experts: int, top_k: int, released: bool) -> None:
    arguments, indices = leaves(2, 3, num_experts, (), top_k), routed(2, num_experts, (), top_k)

    def call(*values: Tensor) -> Tensor:
        named = dict(zip(arguments, values, strict=True))
        return pool(**named, indices=indices, released_expert_order=released)

    # Interpreted, each call takes long: random directions instead of every element.
    assert torch.autograd.gradcheck(call, tuple(arguments.values()), fast_mode=runtime.INTERPRETED)


def test_released_order_is_another_result() -> None:
    arguments, indices = leaves(3, 4, 7, (), 2), torch.tensor([[0, 1], [2, 3], [4, 5]])
    ordinary = pool(**arguments, indices=indices)
    assert (pool(**arguments, indices=indices, released_expert_order=True) - ordinary).abs().max() > 0.1


def test_released_order_of_one_sample_is_the_ordinary_one() -> None:
    arguments, indices = leaves(1, 4, 7, (), 2), torch.tensor([[5, 1]])
    ordinary = pool(**arguments, indices=indices)
    assert_close(pool(**arguments, indices=indices, released_expert_order=True), ordinary)


@pytest.mark.parametrize(("num_experts", "top_k"), [(7, 2), (7, 7)])
def test_an_expert_not_in_use_gets_no_gradient(num_experts: int, top_k: int) -> None:
    arguments = leaves(2, 4, num_experts, (), top_k)
    indices = torch.arange(top_k).expand(2, top_k)
    found = gradients(pool(**arguments, indices=indices), arguments)
    for name in ("weight1", "bias1", "weight2", "bias2"):
        gradient = found[name]
        assert gradient is not None
        used = gradient.flatten(1).any(-1)
        assert used.tolist() == [expert < top_k for expert in range(num_experts)]


@pytest.mark.parametrize(
    ("num_experts", "top_k", "questions", "computed"),
    [(9, 2, 1, 2), (5, 2, 1, 2), (4, 2, 1, 4), (9, 2, 2, 4), (8, 2, 2, 8), (9, 9, 1, 9)],
)
def test_idle_experts_are_left_out_where_most_are_idle(
    num_experts: int, top_k: int, questions: int, computed: int
) -> None:
    """Otherwise all of them are one product."""
    clips, streams, frames, dim, hidden = 3, 2, 64, 48, 4
    weight1, bias1 = torch.randn(num_experts, hidden, dim), torch.randn(num_experts, hidden)
    weight2, bias2 = torch.randn(num_experts, OUT, hidden), torch.randn(num_experts, OUT)
    gates, weights = torch.rand(clips, questions, top_k), torch.rand(clips, questions, top_k, frames)
    indices = torch.arange(top_k).expand(clips, questions, top_k)
    with FlopCounterMode(display=False) as counter:
        x = torch.randn(clips, streams, frames, dim)
        expert_pool_factored(x, gates, indices, weights, weight1, bias1, weight2, bias2)
    first_layer = 2 * clips * streams * frames * computed * hidden * dim
    assert first_layer < counter.get_total_flops() < 1.2 * first_layer


@pytest.mark.parametrize("top_k", [2, 7])
def test_strided_arguments(top_k: int) -> None:
    arguments, indices = leaves(2, 4, 7, (1,), top_k), routed(2, 7, (1,), top_k)
    arguments["frames"] = leaf(2, 1, 4, DIM)
    wanted = factored(**arguments, indices=indices)
    strided = {
        name: torch.stack((value, torch.full_like(value, torch.nan)), dim=-1).movedim(0, -2).movedim(-2, 0)[..., 0]
        for name, value in arguments.items()
    }
    assert not any(value.is_contiguous() for value in strided.values())
    assert_close(factored(**strided, indices=indices.flip(0).flip(0)), wanted)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("top_k", [2, 7])
def test_low_precision_errs_no_more_than_the_definition(dtype: torch.dtype, top_k: int) -> None:
    """Judged against float64: at most three times the error of the definition computed in the same dtype."""
    clips, frames = 4, 16
    arguments, indices = leaves(clips, frames, 7, (), top_k), routed(clips, 7, (), top_k)
    narrow = {name: value.detach().to(dtype) for name, value in arguments.items()}
    exact = reference(**{name: value.double() for name, value in narrow.items()}, indices=indices)
    plain = (reference(**narrow, indices=indices).double() - exact).abs().max()
    ours = (pool(**narrow, indices=indices).double() - exact).abs().max()
    assert ours <= 3 * plain
