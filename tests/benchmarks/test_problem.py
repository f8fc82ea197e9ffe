"""The inputs leave nothing for rounding to decide."""

from __future__ import annotations

import pytest
import torch

from benchmarks.cases import Case
from benchmarks.problem import GAP, OFF_CENTER, exact_layer, make_problem

CASES = [Case(8, 60, 64, 10, 3), Case(2, 300, 128, 8, 8), Case(3, 1, 32, 1, 1)]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_hidden_layer_is_exact_in_float32(case: Case, dtype: str) -> None:
    problem = make_problem(Case(case.B, case.T, case.D, case.E, case.K, dtype), "cpu")
    experts = problem.layer.experts
    weight, bias = experts.weight1.flatten(0, 1).float(), experts.bias1.flatten().float()
    hidden = problem.frames.float() @ weight.T + bias
    assert torch.equal(hidden.double(), problem.frames.double() @ weight.double().T + bias.double())


def test_no_routing_is_near_a_jump() -> None:
    problem = make_problem(CASES[0], "cpu")
    router = exact_layer(problem.layer).router
    routing = router(problem.question.double(), problem.frames.double(), return_weights=False)
    logits = routing.logits.sort(-1, descending=True).values
    assert ((logits[:, 2] - logits[:, 3]) / logits.std(-1)).min() >= GAP
    off = (routing.centers * 59).frac() - 0.5
    assert off.abs().min() >= OFF_CENTER
    # Clips differ in the experts that they use: one set of experts for all would be a case of its own.
    assert len({tuple(sorted(clip)) for clip in routing.indices.tolist()}) > 1


def test_every_parameter_matters_and_problems_repeat() -> None:
    first, second = (make_problem(CASES[0], "cpu") for _ in range(2))
    assert torch.equal(first.frames, second.frames)
    pairs = zip(first.layer.named_parameters(), second.layer.parameters(), strict=True)
    for (name, parameter), other in pairs:
        assert torch.equal(parameter, other), name
        assert parameter.unique().numel() > 1, name  # type: ignore[no-untyped-call]  # untyped in torch


def test_forced_stds_come_with_a_routing_without_weights() -> None:
    problem = make_problem(Case(2, 50, 32, 8, 2, stds=0.03), "cpu")
    assert problem.routing is not None
    assert problem.routing.weights is None
    assert (problem.routing.stds == 0.03).all()
    assert problem.routing.stds.shape == (2, 2)
