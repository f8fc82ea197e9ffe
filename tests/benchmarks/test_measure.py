"""Times are taken in turn by a clock that the tests move; FLOPs are counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from benchmarks import measure
from benchmarks.measure import Call, Timing, flops, summary, timings


class Clock:
    """Stands still but for what calls take."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        """Seconds."""
        return self.now

    def call(self, seconds: float, note: Callable[[], object]) -> Callable[[object], None]:
        """A call that takes so long."""

        def run(prepared: object) -> None:
            note()
            self.now += seconds

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(measure, "time", found)
    return found


def test_percentiles_are_those_of_the_samples() -> None:
    found = summary([9.0, 1.0, 5.0, 2.0, 8.0, 3.0, 7.0, 4.0, 6.0])
    assert found.median == 5.0
    assert found.low == pytest.approx(2.6)
    assert found.high == pytest.approx(7.4)
    assert summary([2.0] * 9) == Timing(2.0, 2.0, 2.0)


def test_calls_are_timed_in_turn(clock: Clock) -> None:
    order: list[str] = []
    slow = Call(clock.call(0.5, lambda: order.append("slow")))
    fast = Call(clock.call(0.25, lambda: order.append("fast")))
    assert timings([slow, fast], repeats=4) == [Timing(0.5, 0.5, 0.5), Timing(0.25, 0.25, 0.25)]
    # Two calls of each warm up and tell how long one takes.
    assert order[:4] == ["slow", "slow", "fast", "fast"]
    turns = list(zip(order[4::2], order[5::2], strict=True))
    assert len(turns) == 4
    assert set(turns) == {("slow", "fast"), ("fast", "slow")}


def test_a_sample_holds_as_many_short_calls_as_fill_its_time(clock: Clock) -> None:
    order: list[str] = []
    short = Call(clock.call(measure.SHORTEST_SAMPLE / 2.5, lambda: order.append("short")))
    long = Call(clock.call(measure.SHORTEST_SAMPLE, lambda: order.append("long")))
    found, _ = timings([short, long], repeats=2)
    # Once more as many that are not timed.
    assert sorted(order[4:]) == ["long"] * 2 + ["short"] * 2 * 6
    assert found.median == pytest.approx(measure.SHORTEST_SAMPLE / 2.5)


def test_what_is_prepared_is_fresh_for_each_call_and_outside_the_clock(clock: Clock) -> None:
    made: list[int] = []
    used: list[int] = []

    def prepare() -> int:
        clock.now += 10.0
        made.append(len(made))
        return made[-1]

    def use(number: int) -> None:
        used.append(number)
        clock.now += measure.SHORTEST_SAMPLE / 3.5

    (found,) = timings([Call(use, prepare)], repeats=3)
    assert used == made
    assert len(used) == 2 + 3 * (4 + 4)
    assert found.median == pytest.approx(measure.SHORTEST_SAMPLE / 3.5)


def test_flops_count_what_they_are_given() -> None:
    a, b = torch.randn(8, 16), torch.randn(16, 4)
    assert flops(lambda: a @ b) == 2 * 8 * 16 * 4
