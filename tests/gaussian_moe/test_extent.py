"""From when to when a clip lasts: what the layers take it for."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gaussian_moe import (
    Routing,
    best_span,
    clip_extent,
    expert_spans,
    gaussian_diversity_loss,
    importance_loss,
    load_balance_loss,
    peak_span,
    router_z_loss,
    routing_statistics,
)
from gaussian_moe.functional import gaussian_weights
from tests.gaussian_moe.support import assert_close, small_moe


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
    assert [float(field) for field in clip_extent(times)] == [3.0, 3.0]
    by_clip = clip_extent(times, duration=torch.tensor([4.0, 5.0]))
    assert [field.tolist() for field in by_clip] == [[3.0, 3.0], [4.0, 5.0]]
    both = clip_extent(times, lengths=torch.tensor([2, 0]))
    assert [field.tolist() for field in both] == [[3.0, 0.0], [1.0, 0.0]]
    masked = clip_extent(times, key_padding_mask=torch.tensor([[True, False, False]]), duration=9.0)
    assert [field.tolist() for field in masked] == [[4.0], [9.0]]
    assert [field.tolist() for field in clip_extent(times[:0].expand(2, 0))] == [[0.0, 0.0], [0.0, 0.0]]
    assert clip_extent(torch.zeros(2, 0), duration=6.0).duration.tolist() == [6.0, 6.0]


def test_a_timeline_of_ones_own() -> None:
    """What attention looked at, without a routing."""
    attention = torch.tensor([[0.0, 0.1, 0.8, 0.1, 0.0]])
    span = peak_span(attention, 0.5, duration=8.0)
    assert (span.start.item(), span.end.item()) == pytest.approx((2 * (1 + 3 / 7), 2 * (3 - 3 / 7)))
    with pytest.raises(ValueError, match=r"weights over time must be floating point \[B, T\]"):
        peak_span(torch.tensor(5.0))


@pytest.mark.parametrize(
    ("times", "message"),
    [([1.0], "times must be a tensor, got list"), (torch.tensor(1.0), r"times must be real numbers \[B, T\]")],
)
def test_wrong_times(times: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clip_extent(times)


# A clip without batch dimension has one question.
@pytest.mark.parametrize(("leading", "questions"), [((), None), ((4,), None), ((4,), 2), ((2, 3), None), ((2, 3), 2)])
def test_leading_dimensions(leading: tuple[int, ...], questions: int | None) -> None:
    """Whatever is computed of a routing is computed of each clip's alone."""
    moe = small_moe().double()
    axis = () if questions is None else (questions,)
    question = torch.randn(*leading, *axis, 16, dtype=torch.float64)
    frames = torch.randn(*leading, 7, 16, dtype=torch.float64)
    lengths = torch.randint(1, 8, leading)
    times = 3 + torch.rand(*leading, 7, dtype=torch.float64).cumsum(-1)
    given: dict[str, Any] = {"lengths": lengths, "times": times}
    _, routing = moe(question, frames, return_routing=True, **given)
    found = clip_extent(times, lengths=lengths)
    assert found.start.shape == leading
    every = {
        "best": best_span(routing, **found._asdict()),
        "all": expert_spans(routing, **found._asdict()),
        "peak": peak_span(routing, **given, **found._asdict()),
    }
    for clip in itertools.product(*(range(size) for size in leading)):
        its = Routing(*(None if field is None else field[clip].unsqueeze(0) for field in routing))  # type: ignore[arg-type]
        alone: dict[str, Any] = {"lengths": lengths[clip].unsqueeze(0), "times": times[clip].unsqueeze(0)}
        mine = clip_extent(alone["times"], lengths=alone["lengths"])
        wanted = {
            "best": best_span(its, **mine._asdict()),
            "all": expert_spans(its, **mine._asdict()),
            "peak": peak_span(its, **alone, **mine._asdict()),
        }
        for name, spans in every.items():
            for ours, theirs in zip(spans, wanted[name], strict=True):
                assert_close(ours[clip], theirs[0])


@pytest.mark.parametrize("leading", [(), (4,), (2, 3)])
def test_losses_and_statistics_under_leading_dimensions(leading: tuple[int, ...]) -> None:
    moe = small_moe().double()
    question = torch.randn(*leading, 16, dtype=torch.float64)
    frames = torch.randn(*leading, 7, 16, dtype=torch.float64)
    lengths = torch.randint(0, 3, leading)
    _, routing = moe(question, frames, lengths=lengths, return_routing=True)
    flat = Routing(*(None if x is None else x.reshape(lengths.numel(), *x.shape[len(leading) :]) for x in routing))  # type: ignore[arg-type]
    mask = torch.arange(7) >= lengths.unsqueeze(-1)
    for loss in (load_balance_loss, importance_loss, router_z_loss, gaussian_diversity_loss):
        wanted = loss(flat, lengths=lengths.reshape(-1))
        assert_close(loss(routing, lengths=lengths), wanted)
        assert_close(loss(routing, key_padding_mask=mask), wanted)
        assert loss(routing).isfinite()
    statistics = zip(
        routing_statistics(routing, lengths=lengths), routing_statistics(flat, lengths=lengths.reshape(-1)), strict=True
    )
    for ours, theirs in statistics:
        assert_close(ours, theirs)
