"""Contests hold what competes against float64, in every dtype."""

from __future__ import annotations

import pytest

from benchmarks import contest
from benchmarks.cases import EAGER, Case
from benchmarks.contest import LayerContest
from benchmarks.pool import PoolContest

CASE = Case(5, 60, 64, 10, 3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", EAGER)
def test_every_implementation_agrees_in_every_dtype(name: str, dtype: str) -> None:
    found = LayerContest(Case(CASE.B, CASE.T, CASE.D, CASE.E, CASE.K, dtype), "cpu")
    errors = found.errors(found.make(name), gradients=True)
    assert found.bounds(name, gradients=True).fault(errors) is None
    assert errors.output > 0


def test_float64_is_the_same_a_few_clips_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = []
    for elements in (2**26, 2 * CASE.T * CASE.E * CASE.D):
        monkeypatch.setattr(contest, "_ELEMENTS", elements)
        found = LayerContest(CASE, "cpu")
        errors.append(found.errors(found.make("factored"), gradients=True))
    assert errors[0].output == pytest.approx(errors[1].output, rel=1e-4)
    assert errors[0].gradients == pytest.approx(errors[1].gradients, rel=1e-4)


@pytest.mark.parametrize("name", ["expert_pool", "expert_pool_skipping", "matrix_product"])
def test_the_pool_agrees(name: str) -> None:
    found = PoolContest(Case(3, 100, 32, 8, 2, dtype="bfloat16"), "cpu")
    errors = found.errors(found.make(name), gradients=False)
    assert found.bounds(name, gradients=False).fault(errors) is None


def test_a_pool_that_forgets_the_bias_disagrees() -> None:
    found = PoolContest(Case(3, 100, 32, 8, 2, dtype="bfloat16"), "cpu")
    broken = found.make("expert_pool")
    found.bounds("expert_pool", gradients=False)
    found._bias1.zero_()
    assert found.bounds("expert_pool", gradients=False).fault(found.errors(broken, gradients=False)) is not None


def test_unknown_implementations_are_refused() -> None:
    found = LayerContest(Case(1, 4, 16, 2, 1), "cpu")
    for name in ("fastest", "layer_graph_compiled", "published_fast"):
        with pytest.raises(ValueError, match="unknown implementation"):
            found.make(name)
