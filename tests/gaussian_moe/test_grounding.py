"""Spans of a routing: against their definition, in both units, and where clips are short or empty."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gaussian_moe import Routing, Spans, best_span, expert_spans, gated_timeline, peak_span, temporal_iou
from gaussian_moe.functional import gaussian_weights
from tests.gaussian_moe.routings import random_routing, relabelled
from tests.gaussian_moe.support import assert_close, small_moe


def assert_same_spans(got: Spans, wanted: Spans, atol: float = 1e-12) -> None:
    for ours, theirs in zip(got, wanted, strict=True):
        assert_close(ours, theirs, atol)


def one_gaussian(center: float, std: float, num_frames: int) -> Routing:
    """One question, one expert."""
    centers, stds = torch.tensor([[center]], dtype=torch.float64), torch.tensor([[std]], dtype=torch.float64)
    weights = gaussian_weights(centers, stds, torch.zeros(1, num_frames, 1, dtype=torch.float64))
    gates = torch.ones(1, 1, dtype=torch.float64)
    return Routing(gates, torch.zeros(1, 1, dtype=torch.int64), centers, stds, gates, weights)


@pytest.mark.parametrize("leading", [(2,), (2, 4)])
@pytest.mark.parametrize("num_gaussians", [1, 3])
def test_expert_spans_are_their_definition(leading: tuple[int, ...], num_gaussians: int) -> None:
    routing = random_routing(*leading, num_gaussians=num_gaussians)
    spans = expert_spans(routing, 1.5)
    assert spans.start.shape == (*leading, 3 * num_gaussians)
    for place in range(math.prod(leading)):
        of_clip = [field.flatten(0, len(leading) - 1)[place].tolist() for field in spans]
        centers, stds = (x.flatten(0, len(leading) - 1)[place].flatten() for x in (routing.centers, routing.stds))
        gates = routing.gates.flatten(0, len(leading) - 1)[place].repeat_interleave(num_gaussians)
        if routing.shares is not None:
            gates = gates * routing.shares.flatten(0, len(leading) - 1)[place].flatten()
        for number, (start, end, confidence) in enumerate(zip(*of_clip, strict=True)):
            center, std = float(centers[number]), float(stds[number])
            assert math.isclose(start, max(center - 1.5 * std, 0.0))
            assert math.isclose(end, min(center + 1.5 * std, 1.0))
            assert math.isclose(confidence, float(gates[number]))


@given(
    duration=st.floats(1e-2, 1e5),
    other=st.floats(1e-2, 1e5),
    start=st.floats(-1e5, 1e5),
    num_stds=st.floats(0, 5),
    questions=st.sampled_from([(2,), (2, 3)]),
    seed=st.integers(0, 99),
)
def test_seconds_and_fractions_agree(
    duration: float, other: float, start: float, num_stds: float, questions: tuple[int, ...], seed: int
) -> None:
    """Every way to a span, with a number and with one number for each clip."""
    routing = random_routing(*questions, seed=seed)
    lengths = torch.tensor([duration, other], dtype=torch.float64)
    for way in (
        partial(expert_spans, routing, num_stds),
        partial(best_span, routing, num_stds),
        partial(best_span, routing, num_stds, rule="vote"),
        partial(peak_span, routing),
    ):
        fractions = way()
        for unit in (duration, lengths):
            seconds = way(duration=unit, start=start)
            factor = torch.as_tensor(unit, dtype=torch.float64).reshape(-1, *[1] * (fractions.start.dim() - 1))
            assert_same_spans(
                seconds, Spans(start + factor * fractions[0], start + factor * fractions[1], fractions[2])
            )
            # Rounding at the scale of the start is all that may differ.
            slack = 1e-9 * max(1.0, (abs(start) + max(duration, other)) / min(duration, other))
            again = Spans((seconds.start - start) / factor, (seconds.end - start) / factor, seconds.confidence)
            assert_same_spans(again, fractions, slack)


@given(seed=st.integers(0, 999), duration=st.floats(1e-2, 1e4))
def test_overlap_does_not_depend_on_the_unit(seed: int, duration: float) -> None:
    routing, truth = random_routing(3, seed=seed), torch.rand(2, 3, 1, dtype=torch.float64).sort(0).values
    iou = temporal_iou(expert_spans(routing), (truth[0], truth[1]))
    in_seconds = temporal_iou(expert_spans(routing, duration=duration), (duration * truth[0], duration * truth[1]))
    assert_close(in_seconds, iou, 1e-9)


def test_a_recordings_clock_keeps_its_precision() -> None:
    """Seconds since 1970 in float32 would be minutes apart."""
    routing = random_routing(2, dtype=torch.float32)
    for epoch in (torch.tensor([1.7e9, 1.8e9], dtype=torch.float64), torch.tensor(1.7e9, dtype=torch.float64)):
        spans = expert_spans(routing, duration=60.0, start=epoch)
        assert spans.start.dtype == torch.float64
        assert_close(spans.start - epoch.reshape(-1, 1), 60 * expert_spans(routing).start.double(), 1e-6)


@given(order=st.permutations(range(5)), seed=st.integers(0, 99), rule=st.sampled_from(["confidence", "vote"]))
def test_the_names_of_experts_do_not_matter(order: list[int], seed: int, rule: str) -> None:
    routing = random_routing(2, seed=seed)
    other = relabelled(routing, order)
    assert_same_spans(best_span(other, rule=rule), best_span(routing, rule=rule))
    assert_same_spans(peak_span(other), peak_span(routing))


@pytest.mark.parametrize("rule", ["confidence", "vote"])
@pytest.mark.parametrize("num_gaussians", [1, 2])
def test_best_span_by_its_definition(rule: str, num_gaussians: int) -> None:
    routing = random_routing(16, 2, num_gaussians=num_gaussians)
    spans, best = expert_spans(routing), best_span(routing, rule=rule)
    differs = False
    for clip in range(16):
        for question in range(2):
            of_clip = [field[clip, question] for field in spans]
            score = of_clip[2]
            if rule == "vote":
                votes = [
                    sum(float(c * temporal_iou((s, e), (a, b))) for a, b, c in zip(*of_clip, strict=True))
                    for s, e, _ in zip(*of_clip, strict=True)
                ]
                score = torch.tensor(votes)
            chosen = int(score.argmax())
            differs |= chosen != int(of_clip[2].argmax())
            for field, wanted in zip(best, of_clip, strict=True):
                assert float(field[clip, question]) == float(wanted[chosen])
    assert differs == (rule == "vote")


def test_the_gated_timeline_is_a_sum() -> None:
    routing = random_routing(2, 3)
    assert routing.weights is not None
    wanted = torch.einsum("bqk,bqkt->bqt", routing.gates, routing.weights)
    assert_close(gated_timeline(routing), wanted)


@given(center=st.floats(0, 1), std=st.floats(0.01, 0.3))
def test_the_peak_of_one_gaussian_is_its_span(center: float, std: float) -> None:
    routing = one_gaussian(center, std, 4001)
    assert_same_spans(peak_span(routing)._replace(confidence=routing.gates[:, 0]), best_span(routing), 1e-3)


@given(
    threshold=st.floats(0.05, 1.0), num_frames=st.integers(1, 40), length=st.integers(1, 40), seed=st.integers(0, 99)
)
def test_the_peak_span_by_walking(threshold: float, num_frames: int, length: int, seed: int) -> None:
    length = min(length, num_frames)
    lengths = torch.tensor([length, num_frames])
    routing = random_routing(2, num_frames=num_frames, lengths=lengths, seed=seed)
    spans = peak_span(routing, threshold, lengths=lengths)
    for clip, valid in enumerate(lengths.tolist()):
        line = gated_timeline(routing)[clip, :valid].tolist()
        level, peak = threshold * max(line), line.index(max(line))
        ends = []
        for step, stop in ((-1, -1), (1, valid)):
            frame = peak
            while frame + step != stop and line[frame + step] >= level:
                frame += step
            place = float(frame)
            if frame + step != stop:
                place += step * (line[frame] - level) / (line[frame] - line[frame + step])
            ends.append(place / max(valid - 1, 1))
        assert math.isclose(float(spans.start[clip]), ends[0], abs_tol=1e-9)
        assert math.isclose(float(spans.end[clip]), ends[1], abs_tol=1e-9)
        assert 0.0 < float(spans.confidence[clip]) <= 1.0 + 1e-12


@given(length=st.integers(1, 9), seed=st.integers(0, 99))
def test_padding_does_not_move_the_peak(length: int, seed: int) -> None:
    moe = small_moe().double()
    generator = torch.Generator().manual_seed(seed)
    question = torch.randn(1, 16, generator=generator, dtype=torch.float64)
    frames = torch.randn(1, 9, 16, generator=generator, dtype=torch.float64)
    alone = moe(question, frames[:, :length], return_routing=True)[1]
    mask = torch.arange(9).expand(1, 9) >= length
    padded = moe(question, frames, key_padding_mask=mask, return_routing=True)[1]
    wanted = peak_span(alone)
    assert_same_spans(peak_span(padded, key_padding_mask=mask), wanted, 1e-9)
    assert_same_spans(peak_span(padded, lengths=torch.tensor([length])), wanted, 1e-9)


def test_weights_that_padding_should_not_have_do_not_count() -> None:
    routing = one_gaussian(1.0, 0.3, 9)
    assert routing.weights is not None
    cut = routing._replace(weights=routing.weights[..., :5])
    assert_same_spans(peak_span(routing, lengths=torch.tensor([5])), peak_span(cut))


def test_padding_inside_a_clip_is_skipped() -> None:
    """A dropped frame has weight 0 and is no end of the span around it."""
    whole = one_gaussian(0.5, 0.2, 5)
    weights = torch.zeros(1, 1, 7, dtype=torch.float64)
    mask = torch.tensor([[False, False, True, False, True, False, False]])
    assert whole.weights is not None
    weights[..., ~mask[0]] = whole.weights
    assert_same_spans(peak_span(whole._replace(weights=weights), key_padding_mask=mask), peak_span(whole))


def test_times_place_the_peak() -> None:
    times = torch.tensor([10.0, 11.0, 12.0, 20.0, 30.0], dtype=torch.float64)
    centers, stds = torch.tensor([[0.05]], dtype=torch.float64), torch.tensor([[0.04]], dtype=torch.float64)
    weights = gaussian_weights(centers, stds, torch.zeros(1, 5, 1, dtype=torch.float64), times=times)
    routing = one_gaussian(0.05, 0.04, 5)._replace(weights=weights)
    span = peak_span(routing, times=times, duration=20.0, start=10.0)
    assert 10.0 <= float(span.start) < 11.0 < float(span.end) < 20.0


def test_a_clip_with_no_frames_has_an_empty_peak_and_no_nan() -> None:
    lengths = torch.tensor([0, 4])
    routing = random_routing(2, lengths=lengths)
    assert [float(field[0]) for field in peak_span(routing, lengths=lengths)] == [0.0, 0.0, 0.0]
    assert routing.weights is not None
    none = peak_span(routing._replace(weights=routing.weights[..., :0]))
    assert [field.tolist() for field in none] == [[0.0, 0.0]] * 3
    assert peak_span(torch.zeros(2, 3, 0)).start.shape == (2, 3)
    assert peak_span(random_routing(0)).start.shape == (0,)
    assert expert_spans(random_routing(0), duration=torch.zeros(0)).start.shape == (0, 3)
    leaf = routing.weights.requires_grad_()
    span = peak_span(routing, lengths=lengths)
    (gradient,) = torch.autograd.grad((span.start + span.end + span.confidence).sum(), leaf)
    assert bool(gradient.isfinite().all())


def test_errors_name_the_fix() -> None:
    routing = random_routing(2)
    with pytest.raises(ValueError, match="num_stds must be at least 0, got -1"):
        expert_spans(routing, -1)
    with pytest.raises(ValueError, match="give duration too"):
        expert_spans(routing, start=3.0)
    with pytest.raises(ValueError, match=r"duration must have shape \[2\], got \[3\]"):
        expert_spans(routing, duration=torch.ones(3))
    with pytest.raises(ValueError, match='rule must be "confidence" or "vote"'):
        best_span(routing, rule="best")
    with pytest.raises(ValueError, match="call the layer with return_routing=True"):
        gated_timeline(routing._replace(weights=None))
    with pytest.raises(ValueError, match=r"threshold must be in \(0, 1\], got 0"):
        peak_span(routing, 0.0)
