"""The losses: against slow loops over questions, without padding, and their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gaussian_moe import Routing, gaussian_diversity_loss, importance_loss, load_balance_loss, router_z_loss
from gaussian_moe._counted import wide_logits
from tests.gaussian_moe.routings import random_routing, relabelled
from tests.gaussian_moe.support import assert_close

Loss = Callable[..., Tensor]
LOSSES: list[Loss] = [load_balance_loss, importance_loss, router_z_loss, gaussian_diversity_loss]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)


def rows(routing: Routing, keep: list[int]) -> Routing:
    """These questions of the flattened batch alone."""
    axes = routing.gates.dim() - 1
    return Routing._make(None if field is None else field.flatten(0, axes - 1)[keep] for field in routing)


def slow_load_balance(routing: Routing) -> float:
    num_experts, (count, top_k) = routing.logits.shape[-1], routing.gates.shape
    total = 0.0
    for expert in range(num_experts):
        share = sum(indices.count(expert) for indices in routing.indices.tolist()) / (count * top_k)
        probability = sum(float(logits.softmax(-1)[expert]) for logits in routing.logits) / count
        total += share * probability
    return num_experts * total


def slow_importance(routing: Routing) -> float:
    importance = [0.0] * routing.logits.shape[-1]
    for gates, indices in zip(routing.gates.tolist(), routing.indices.tolist(), strict=True):
        for gate, expert in zip(gates, indices, strict=True):
            importance[expert] += gate
    mean = sum(importance) / len(importance)
    return sum((value - mean) ** 2 for value in importance) / len(importance) / mean**2


def slow_z(routing: Routing) -> float:
    return sum(math.log(sum(math.exp(x) for x in row)) ** 2 for row in routing.logits.tolist()) / len(routing.logits)


def slow_diversity(routing: Routing, concentration: float = 0.146) -> float:
    total = 0.0
    assert routing.weights is not None
    for windows in routing.weights.tolist():
        windows = [[weight / sum(window) for weight in window] for window in windows]
        for i, first in enumerate(windows):
            for j, second in enumerate(windows):
                overlap = sum(a * b for a, b in zip(first, second, strict=True))
                total += (overlap - (concentration if i == j else 0.0)) ** 2
    return total / len(routing.weights)


SLOW = dict(zip(LOSSES, (slow_load_balance, slow_importance, slow_z, slow_diversity), strict=True))


@every_loss
@pytest.mark.parametrize("top_k", [1, 3, 5])
@pytest.mark.parametrize("leading", [(4,), (2, 3)])
def test_against_slow_loops(loss: Loss, leading: tuple[int, ...], top_k: int) -> None:
    routing = random_routing(*leading, top_k=top_k)
    got = loss(routing)
    assert got.shape == ()
    assert math.isclose(float(got), SLOW[loss](rows(routing, list(range(math.prod(leading))))), rel_tol=1e-9)


@every_loss
@given(
    padded=st.lists(st.booleans(), min_size=6, max_size=6),
    lengths=st.lists(st.integers(0, 9), min_size=2, max_size=2),
    as_mask=st.booleans(),
    seed=st.integers(0, 99),
)
def test_padding_does_not_count(loss: Loss, padded: list[bool], lengths: list[int], as_mask: bool, seed: int) -> None:
    """Not even where it holds NaN. Questions of an empty clip are as good as padded."""
    routing = random_routing(2, 3, lengths=torch.tensor(lengths), seed=seed)
    keep = [place for place in range(6) if not padded[place] and lengths[place // 3]]
    gone = torch.tensor([place not in keep for place in range(6)]).view(2, 3)
    assert routing.weights is not None
    broken = routing._replace(
        gates=routing.gates.masked_fill(gone.unsqueeze(-1), torch.nan),
        logits=routing.logits.masked_fill(gone.unsqueeze(-1), torch.nan).requires_grad_(),
        weights=routing.weights.masked_fill(gone[..., None, None], torch.nan).requires_grad_(),
    )
    clips: dict[str, Any] = {"lengths": torch.tensor(lengths)}
    if as_mask:
        clips = {"key_padding_mask": torch.arange(9) >= clips["lengths"].unsqueeze(-1)}
    got = loss(broken, question_padding_mask=torch.tensor(padded).view(2, 3), **clips)
    wanted = SLOW[loss](rows(routing, keep)) if keep else 0.0
    assert math.isclose(float(got.detach()), wanted, rel_tol=1e-9, abs_tol=1e-12)
    if got.requires_grad:
        leaves = [leaf for leaf in (broken.logits, broken.weights) if leaf is not None]
        for gradient in torch.autograd.grad(got, leaves, allow_unused=True):
            if gradient is not None:
                assert bool(gradient.isfinite().all())
                assert not bool(gradient[gone].any())


@every_loss
@given(order=st.permutations(range(5)), seed=st.integers(0, 99))
def test_the_names_of_experts_do_not_matter(loss: Loss, order: list[int], seed: int) -> None:
    routing = random_routing(4, seed=seed)
    assert_close(loss(relabelled(routing, order)), loss(routing))


@every_loss
def test_of_an_empty_batch_it_is_0(loss: Loss) -> None:
    assert float(loss(random_routing(0))) == 0.0


def test_balance_is_1_where_experts_are_used_alike_and_e_where_one_takes_all() -> None:
    gates, experts = torch.ones(4, 1), torch.tensor([[0], [1], [2], [3]])
    even = Routing(gates, experts, gates / 2, gates / 9, torch.zeros(4, 4), None)
    assert float(load_balance_loss(even)) == 1.0
    assert float(importance_loss(even)) == 0.0
    alone = even._replace(indices=0 * experts, logits=torch.tensor([[99.0, 0.0, 0.0, 0.0]]).expand(4, 4))
    assert float(load_balance_loss(alone)) == 4.0
    assert float(importance_loss(alone)) == 3.0


def test_with_all_experts_in_use_only_importance_balances() -> None:
    logits = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    gates, indices = logits.softmax(-1).sort(descending=True)
    routing = random_routing(4, top_k=5)._replace(gates=gates, indices=indices, logits=logits)
    assert_close(load_balance_loss(routing), torch.tensor(1.0, dtype=torch.float64))
    (by_load,) = torch.autograd.grad(load_balance_loss(routing), logits, retain_graph=True)
    (by_importance,) = torch.autograd.grad(importance_loss(routing), logits)
    assert float(by_load.abs().max()) < 1e-12
    assert float(by_importance.abs().max()) > 1e-3


def test_gradients_are_right() -> None:
    """Each with respect to what it is meant to move."""
    routing = random_routing(3, 2)
    mask = torch.tensor([[False, True], [False, False], [True, True]])
    assert routing.weights is not None
    leaves = [field.clone().requires_grad_() for field in (routing.logits, routing.gates, routing.weights)]
    for loss, leaf, field in (
        (load_balance_loss, leaves[0], "logits"),
        (router_z_loss, leaves[0], "logits"),
        (importance_loss, leaves[1], "gates"),
        (gaussian_diversity_loss, leaves[2], "weights"),
    ):
        call = lambda x, loss=loss, field=field: loss(routing._replace(**{field: x}), question_padding_mask=mask)  # noqa: E731
        assert torch.autograd.gradcheck(call, (leaf,))


def test_descent_lowers_what_each_is_for() -> None:
    logits = torch.zeros(8, 5, dtype=torch.float64)
    logits[:, 0] = 3.0
    logits.requires_grad_()
    for loss in (load_balance_loss, router_z_loss):
        gates, indices = logits.softmax(-1).topk(2)
        routing = random_routing(8, top_k=2)._replace(gates=gates, indices=indices, logits=logits)
        (gradient,) = torch.autograd.grad(loss(routing), logits)
        # The favourite's logit is to fall.
        assert bool((gradient[:, 0] > 0).all())


def test_diversity_parts_windows_and_keeps_their_width() -> None:
    frames = torch.linspace(0, 1, 50, dtype=torch.float64)

    def loss(centers: list[float], std: float, wanted: float) -> float:
        windows = torch.stack([(-((frames - center) ** 2) / (2 * std**2)).exp() for center in centers])
        routing = random_routing(1, top_k=len(centers))._replace(weights=windows.unsqueeze(0))
        return float(gaussian_diversity_loss(routing, wanted))

    # A std of 0.1 is 4.9 steps between frames.
    wanted = 0.28 / 4.9
    assert loss([0.3, 0.7], 0.1, wanted) < loss([0.3, 0.4], 0.1, wanted)
    assert loss([0.3, 0.7], 0.1, wanted) < min(loss([0.3, 0.7], std, wanted) for std in (0.05, 0.2))
    assert loss([0.3, 0.7], 0.1, wanted) < 1e-4


def test_a_window_that_holds_no_frame_is_no_nan() -> None:
    """A box can lie between two frames."""
    routing = random_routing(1)
    assert routing.weights is not None
    weights = routing.weights.clone()
    weights[0, 1] = 0.0
    loss = gaussian_diversity_loss(routing._replace(weights=weights.requires_grad_()))
    (gradient,) = torch.autograd.grad(loss, weights)
    assert bool(loss.isfinite())
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@every_loss
def test_half_precision_and_autocast_cost_no_more_than_the_inputs_rounding(loss: Loss, dtype: torch.dtype) -> None:
    routing = random_routing(6, dtype=torch.float32)
    half = routing._replace(logits=routing.logits.to(dtype))
    wanted = loss(half._replace(logits=half.logits.double()))
    with torch.autocast("cpu", dtype=dtype):
        got = loss(half)
    assert got.dtype == torch.float32
    assert_close(got.double(), wanted.double(), 1e-5)


@every_loss
def test_one_graph(loss: Loss) -> None:
    routing, mask = random_routing(2, 3), torch.tensor([[False, True, False], [False, False, True]])
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    lengths = torch.tensor([9, 0])
    got = compiled(routing, question_padding_mask=mask, lengths=lengths)
    assert_close(got, loss(routing, question_padding_mask=mask, lengths=lengths))


@every_loss
def test_errors_name_the_fix(loss: Loss) -> None:
    routing = random_routing(2, 3)
    with pytest.raises(ValueError, match="got tuple; give the second of the pair"):
        loss((torch.ones(1), routing))
    with pytest.raises(ValueError, match=r"question_padding_mask must have shape \[2, 3\], got \[2\]"):
        loss(routing, question_padding_mask=torch.zeros(2, dtype=torch.bool))
    with pytest.raises(ValueError, match="1 means keep"):
        loss(routing, question_padding_mask=torch.zeros(2, 3))
    with pytest.raises(ValueError, match="key_padding_mask must have shape"):
        loss(routing, key_padding_mask=torch.zeros(3, 9, dtype=torch.bool))
    with pytest.raises(ValueError, match="key_padding_mask must have shape"):
        loss(routing, key_padding_mask=torch.zeros(2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"lengths must have shape \[2\], got \[3\]"):
        loss(routing, lengths=torch.ones(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="give one of them"):
        loss(routing, lengths=torch.ones(2, dtype=torch.int64), key_padding_mask=torch.zeros(2, 9, dtype=torch.bool))


def test_diversity_wants_the_windows() -> None:
    with pytest.raises(ValueError, match="call the layer with return_routing=True"):
        gaussian_diversity_loss(random_routing(2)._replace(weights=None))


def test_logits_of_questions_that_do_not_count_are_zero_and_wide() -> None:
    routing = random_routing(2, 3)
    routing = routing._replace(logits=torch.full_like(routing.logits, torch.nan).half())
    counts = torch.zeros(routing.gates.shape[:-1], dtype=torch.bool)
    logits = wide_logits(routing, counts)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, torch.zeros_like(logits))
