"""Overlap of spans: against numbers counted on a grid, and its bounds, also for empty and touching spans."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gaussian_moe import Spans, temporal_iop, temporal_iou
from tests.gaussian_moe.support import assert_close

ENDS = st.tuples(*[st.floats(-1e3, 1e3, width=32) for _ in range(4)])
WHOLE = st.tuples(*[st.integers(0, 9) for _ in range(4)])


def pairs(ends: tuple[float, ...]) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Two spans whose ends are in no order."""
    values = [torch.tensor(value, dtype=torch.float64) for value in ends]
    return (values[0], values[1]), (values[2], values[3])


@given(ends=WHOLE)
def test_against_counted_cells(ends: tuple[int, ...]) -> None:
    a, b = set(range(ends[0], ends[1])), set(range(ends[2], ends[3]))
    first, second = pairs(ends)
    assert math.isclose(float(temporal_iou(first, second)), len(a & b) / max(len(a | b), 1) if a and b else 0.0)
    if a:
        assert math.isclose(float(temporal_iop(first, second)), len(a & b) / len(a))


@given(ends=ENDS)
def test_bounds_symmetry_and_no_nan(ends: tuple[float, ...]) -> None:
    first, second = ((start.float(), end.float()) for start, end in pairs(ends))
    iou, iop = float(temporal_iou(first, second)), float(temporal_iop(first, second))
    assert 0.0 <= iou <= 1.0
    assert 0.0 <= iop <= 1.0
    assert iou == float(temporal_iou(second, first))
    if ends[0] < ends[1]:
        assert iou <= iop
        assert float(temporal_iou(first, first)) == 1.0
        assert float(temporal_iop(first, first)) == 1.0


@pytest.mark.parametrize(
    ("first", "second", "iou", "iop"),
    [
        ((0.0, 1.0), (1.0, 2.0), 0.0, 0.0),  # touching
        ((0.0, 1.0), (3.0, 4.0), 0.0, 0.0),  # apart
        ((1.0, 1.0), (0.0, 2.0), 0.0, 1.0),  # an instant inside
        ((2.0, 2.0), (0.0, 2.0), 0.0, 1.0),  # an instant on the edge
        ((3.0, 3.0), (0.0, 2.0), 0.0, 0.0),  # an instant outside
        ((1.0, 1.0), (1.0, 1.0), 0.0, 1.0),  # two instants
        ((0.0, 2.0), (1.0, 1.0), 0.0, 0.0),  # the truth is an instant
        ((2.0, 0.0), (0.0, 2.0), 0.0, 0.0),  # ends in the wrong order
        ((0.0, 2.0), (2.0, 0.0), 0.0, 0.0),
        ((1.0, 2.0), (0.0, 4.0), 0.25, 1.0),  # inside
        ((0.0, 4.0), (1.0, 2.0), 0.25, 0.25),
    ],
)
def test_named_cases(first: tuple[float, float], second: tuple[float, float], iou: float, iop: float) -> None:
    a, b = pairs((*first, *second))
    assert float(temporal_iou(a, b)) == iou
    assert float(temporal_iop(a, b)) == iop


def test_shapes_broadcast_and_spans_are_pairs() -> None:
    start = torch.rand(2, 3, 1)
    spans = Spans(start, start + 0.3, torch.ones(2, 3, 1))
    truth = (torch.tensor([0.1, 0.5, 0.6, 0.9]), torch.tensor([0.4, 0.6, 0.9, 1.0]))
    iou = temporal_iou(spans, truth)
    assert iou.shape == (2, 3, 4)
    one = temporal_iou((spans.start[1, 2, 0], spans.end[1, 2, 0]), (truth[0][3], truth[1][3]))
    assert_close(iou[1, 2, 3], one)


def test_gradients_are_finite_everywhere() -> None:
    start = torch.tensor([0.0, 1.0, 1.0, 3.0], requires_grad=True)
    end = torch.tensor([1.0, 1.0, 3.0, 2.0], requires_grad=True)
    truth = (torch.tensor(1.0), torch.tensor(2.0))
    total = (temporal_iou((start, end), truth) + temporal_iop((start, end), truth)).sum()
    by_start, by_end = torch.autograd.grad(total, (start, end))
    assert bool(by_start.isfinite().all() & by_end.isfinite().all())
    # The third reaches beyond the truth: its end moving out costs.
    assert float(by_end[2]) < 0


def test_a_tensor_is_no_pair() -> None:
    ends = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    with pytest.raises(ValueError, match=r"prediction must be Spans or a pair .* give \(x\[\.\.\., 0\]"):
        temporal_iop(ends, (ends[..., 0], ends[..., 1]))  # type: ignore[arg-type]
