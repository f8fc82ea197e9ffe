"""What counts as agreeing with float64."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks.agreement import FLOAT32_BOUND, Bounds, Errors, Exact, bounds, compare

EXACT = Exact(torch.tensor([1.0, -4.0]).double(), (torch.tensor([2.0]).double(), torch.tensor([1e-9]).double()))


def test_errors_are_relative_to_the_largest_value() -> None:
    found = compare(torch.tensor([1.0, -4.004]), [torch.tensor([2.002]), torch.tensor([1e-9])], ["a", "b"], EXACT)
    assert found.output == pytest.approx(1e-3, rel=1e-3)
    assert found.gradients == pytest.approx(1e-3, rel=1e-3)
    assert found.worst == "a"


def test_a_gradient_that_is_nearly_zero_is_measured_against_the_others() -> None:
    # 2e-8 where 1e-9 is right is rounding beside gradients of 2; 2e-3 is not.
    for value, error in ((2e-8, 1e-5), (2e-3, 1.0)):
        found = compare(EXACT.output, [torch.tensor([2.0]), torch.tensor([value])], ["a", "b"], EXACT)
        assert found.gradients == pytest.approx(error, rel=0.1)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_and_infinity_disagree(bad: float) -> None:
    limits = Bounds(1.0, 1.0)
    fine = [torch.tensor([2.0]), torch.tensor([0.0])]
    assert limits.fault(compare(torch.tensor([1.0, bad]), fine, ["a", "b"], EXACT)) is not None
    broken = compare(EXACT.output, [torch.tensor([2.0]), torch.tensor([bad])], ["a", "b"], EXACT)
    assert broken.worst == "b"
    assert "gradient of b" in str(limits.fault(broken))


def test_another_shape_disagrees_even_where_it_would_broadcast() -> None:
    found = compare(torch.tensor([[1.0, -4.0]]), None, (), EXACT)
    assert found.output == math.inf


def test_bounds_below_float32_are_twice_the_error_of_plain_torch() -> None:
    assert bounds("float32", None) == Bounds(FLOAT32_BOUND, FLOAT32_BOUND)
    assert bounds("bfloat16", Errors(0.02, 0.05)) == Bounds(0.04, 0.1)
    # A lucky plain result may not fail another for its rounding.
    assert bounds("bfloat16", Errors(1e-5, 1e-5)) == Bounds(2**-6, 2**-5)
    # One that is itself wrong is no yardstick.
    assert bounds("float16", Errors(math.nan, 0.5)) == Bounds(0.0, 0.0)
