"""From when to when a clip lasts: what the layers take it for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gaussian_moe import Routing, clip_extent, expert_spans, peak_span
from gaussian_moe.functional import gaussian_weights
from tests.gaussian_moe.support import assert_close


@given(
    length=st.integers(1, 9),
    padding=st.integers(0, 4),
    first=st.floats(-1e3, 1e3),
    lasting=st.sampled_from([None, 11.0]),
    seed=st.integers(0, 99),
)
def test_a_center_lies_where_its_window_peaks(
    length: int, padding: int, first: float, lasting: float | None, seed: int
) -> None:
    """A center on a frame, read in seconds, is that frame's time."""
    generator = torch.Generator().manual_seed(seed)
    times = first + torch.rand(length, generator=generator, dtype=torch.float64).cumsum(0)
    frame = int(torch.randint(length, (), generator=generator))
    span = lasting or max(float(times[-1] - times[0]), 1e-9)
    center = ((times[frame] - times[0]) / span).view(1, 1)
    padded = torch.cat([times, torch.full((padding,), 1e9, dtype=torch.float64)])[None]
    given_as: dict[str, Any] = {"lengths": torch.tensor([length]), "duration": lasting}
    frames = torch.zeros(1, length + padding, 1, dtype=torch.float64)
    weights = gaussian_weights(center, center * 0 + 0.05, frames, times=padded, **given_as)
    assert weights.argmax() == frame
    one = torch.ones(1, 1, dtype=torch.float64)
    routing = Routing(one, one.long(), center, 0 * one, one, weights)
    spans = expert_spans(routing, **clip_extent(padded, **given_as)._asdict())
    assert_close(spans.start[0, 0], times[frame], 1e-12)
    assert_close(spans.end[0, 0], times[frame], 1e-12)


def test_forms() -> None:
    times = torch.tensor([3, 4, 6])
    assert [field.tolist() for field in clip_extent(times)] == [[3.0], [3.0]]
    both = clip_extent(times, lengths=torch.tensor([2, 0]))
    assert [field.tolist() for field in both] == [[3.0, 0.0], [1.0, 0.0]]
    masked = clip_extent(times, key_padding_mask=torch.tensor([[True, False, False]]), duration=9.0)
    assert [field.tolist() for field in masked] == [[4.0], [9.0]]
    assert [field.tolist() for field in clip_extent(times[:0].expand(2, 0))] == [[0.0, 0.0], [0.0, 0.0]]


def test_a_timeline_of_ones_own() -> None:
    """What attention looked at, without a routing."""
    attention = torch.tensor([[0.0, 0.1, 0.8, 0.1, 0.0]])
    span = peak_span(attention, 0.5, duration=8.0)
    assert (span.start.item(), span.end.item()) == pytest.approx((2 * (1 + 3 / 7), 2 * (3 - 3 / 7)))
    with pytest.raises(ValueError, match=r"weights over time must be floating point \[B, T\]"):
        peak_span(torch.ones(5))


@pytest.mark.parametrize(
    ("times", "message"),
    [([1.0], "times must be a tensor, got list"), (torch.ones(1, 2, 3), r"times must be real numbers \[B, T\]")],
)
def test_wrong_times(times: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clip_extent(times)
