"""`run` and `verify`: what is recorded, what gets no number, and how a run goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import benchmarks.__main__ as command
from benchmarks import cases
from benchmarks import run as running
from benchmarks.cases import COMPILED, EAGER, PASSES, Case, Experiment
from benchmarks.measure import timings
from benchmarks.memory import GIB, estimated_bytes
from benchmarks.published import PublishedMoE
from gaussian_moe.kernels.expert_pool import eager, op

SMALL = Case(2, 9, 16, 4, 2)
OTHER = Case(2, 12, 16, 4, 4)


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> list[Experiment]:
    """Two small cases in place of the suite `published`."""
    found = [Experiment("published", case, EAGER, PASSES, EAGER, flops=True) for case in (SMALL, OTHER)]
    monkeypatch.setitem(cases.SUITES, "published", lambda device: found)
    monkeypatch.setattr(command, "commit", lambda: "abc1234")
    monkeypatch.setattr("benchmarks.measure.SHORTEST_SAMPLE", 1e-12)
    # What a collection frees matters for large cases only, and the heap of a test session takes long to walk.
    monkeypatch.setattr("gc.collect", lambda: 0)
    monkeypatch.delenv("GAUSSIAN_MOE_BACKEND", raising=False)
    return found


def run(path: Path, *more: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit status, and the rows of the file."""
    status = command.main(["run", "--suite", "published", "--device", "cpu", "--out", str(path), *more])
    return status, json.loads(path.read_text())["rows"] if path.exists() else []


def test_a_row_has_what_was_asked_for(suite: list[Experiment], tmp_path: Path) -> None:
    status, rows = run(tmp_path / "bench.json")
    assert status == 0
    assert [(row["case"]["T"], row["implementation"]) for row in rows] == [(T, name) for T in (9, 12) for name in EAGER]
    for row in rows:
        assert set(row["times"]) == set(PASSES)
        for median, low, high in row["times"].values():
            assert 0 < low <= median <= high
        assert row["output_error"] < 1e-5
        assert row["gradient_error"] < 1e-5
        assert row["memory"] > 0
        assert row["commit"] == "abc1234"
    layer, factored, published = (row["flops"] for row in rows[:3])
    assert 0.3 * factored < layer < 0.8 * published


def test_a_wrong_result_gets_no_number(
    suite: list[Experiment], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    forward = PublishedMoE.forward
    monkeypatch.setattr(PublishedMoE, "forward", lambda self, *inputs: forward(self, *inputs) + 1e-2)
    status, rows = run(tmp_path / "bench.json")
    assert status == 1
    for row in rows:
        if row["implementation"] == "published":
            assert row.keys() == {"suite", "case", "implementation", "commit", "fault"}
            assert "the result differs from float64" in row["fault"]
        else:
            assert "times" in row


def test_a_wrong_gradient_gets_no_number_either(
    suite: list[Experiment], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    forward = PublishedMoE.forward

    def twice(self: PublishedMoE, question: Tensor, frames: Tensor) -> Tensor:
        # The same value; the experts' gradients are twice what they should be.
        result = forward(self, question, frames)
        return result + result - result.detach()

    monkeypatch.setattr(PublishedMoE, "forward", twice)
    status, rows = run(tmp_path / "bench.json", "--only", "published")
    assert status == 1
    assert all("the gradient of" in row["fault"] and "times" not in row for row in rows)


def test_an_implementation_that_fails_does_not_stop_the_others(
    suite: list[Experiment], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*inputs: object) -> Tensor:
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(PublishedMoE, "forward", fail)
    status, rows = run(tmp_path / "bench.json")
    assert status == 1
    faults = [row["fault"] for row in rows if "fault" in row]
    assert faults == ["RuntimeError: out of memory"] * 2
    assert sum("times" in row for row in rows) == 4


def test_verify_prints_errors_and_times_nothing(
    suite: list[Experiment], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["verify", "--suite", "published", "--device", "cpu"]
    monkeypatch.setattr("benchmarks.run.timings", None)
    assert command.main(arguments) == 0
    assert "6 results held against float64: all agree" in capsys.readouterr().out
    forward = PublishedMoE.forward
    monkeypatch.setattr(PublishedMoE, "forward", lambda self, *inputs: 1.01 * forward(self, *inputs))
    assert command.main(arguments) == 1
    said = capsys.readouterr().out
    assert said.count("DISAGREES") == 2
    assert "2 DISAGREE" in said


class Counted:
    """Which cases were measured, since it was last asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._seen: list[int] = []
        measure = running.measure

        def counting(experiment: Experiment, *rest: Any) -> Any:
            self._seen.append(experiment.case.T)
            return measure(experiment, *rest)

        monkeypatch.setattr(running, "measure", counting)

    def cases(self) -> list[int]:
        seen, self._seen = self._seen, []
        return seen


def test_a_stopped_run_goes_on(suite: list[Experiment], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"

    def stopped(calls: Sequence[Any]) -> Any:
        if path.exists():
            raise KeyboardInterrupt
        return timings(calls)

    monkeypatch.setattr("benchmarks.run.timings", stopped)
    status, rows = run(path)
    assert status == 130
    assert {row["case"]["T"] for row in rows} == {9}
    monkeypatch.setattr("benchmarks.run.timings", timings)
    counted = Counted(monkeypatch)
    status, resumed = run(path)
    assert status == 0
    assert counted.cases() == [12]
    assert resumed[: len(rows)] == rows
    assert len(resumed) == 2 * len(rows)


@pytest.mark.slow
def test_what_is_recorded_is_measured_again_only_for_a_reason(
    suite: list[Experiment], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, counted = tmp_path / "bench.json", Counted(monkeypatch)
    run(path, "--only", "layer")
    assert counted.cases() == [9, 12]
    run(path, "--only", "layer")
    assert counted.cases() == []
    run(path, "--only", "layer", "--again")
    assert counted.cases() == [9, 12]
    # An implementation that is missing is timed beside the others, not alone.
    _, rows = run(path, "--only", "layer", "factored")
    assert counted.cases() == [9, 12]
    assert len(rows) == 4
    monkeypatch.setattr(command, "commit", lambda: "def5678")
    _, rows = run(path, "--only", "layer", "--keep")
    assert counted.cases() == []
    assert {row["commit"] for row in rows} == {"abc1234"}
    capsys.readouterr()
    _, rows = run(path, "--only", "layer")
    assert "another commit" in capsys.readouterr().err
    assert counted.cases() == [9, 12]
    assert [row["commit"] for row in rows] == ["def5678"] * 2


@pytest.mark.slow
def test_a_faulty_case_is_tried_again(suite: list[Experiment], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path, forward = tmp_path / "bench.json", PublishedMoE.forward
    monkeypatch.setattr(PublishedMoE, "forward", lambda self, *inputs: forward(self, *inputs) + 1e-2)
    assert run(path)[0] == 1
    monkeypatch.setattr(PublishedMoE, "forward", forward)
    status, rows = run(path)
    assert status == 0
    assert len(rows) == 6
    assert all("times" in row for row in rows)


def test_what_memory_would_not_suffice_for_is_recorded_as_left_out(
    suite: list[Experiment], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    most = max(estimated_bytes(case, name, True) for case in (SMALL, OTHER) for name in ("layer", "factored"))
    path, counted = tmp_path / "bench.json", Counted(monkeypatch)
    status, rows = run(path, "--max-gib", str(most / GIB))
    assert status == 0
    left_out = [row for row in rows if row["implementation"] == "published"]
    assert all("GiB may be used" in row["left_out"] and "times" not in row for row in left_out)
    assert len(left_out) == 2
    counted.cases()
    run(path, "--max-gib", str(most / GIB))
    assert counted.cases() == []


def test_after_its_minutes_no_further_case_is_begun(
    suite: list[Experiment], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, rows = run(tmp_path / "bench.json", "--minutes", "0")
    assert (status, rows) == (0, [])
    assert "goes on with case 1 of 2" in capsys.readouterr().err


def test_compiled_ones_are_compiled_whole_for_their_sizes_and_anew_for_each_case(
    suite: list[Experiment], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[dict[str, object]] = []
    resets: list[int] = []

    def compile_nothing(module: nn.Module, **options: object) -> nn.Module:
        asked.append(options)
        return module

    monkeypatch.setattr(torch, "compile", compile_nothing)
    monkeypatch.setattr("torch._dynamo.reset", lambda: resets.append(len(asked)))
    suite[:] = [Experiment("published", case, COMPILED, ("forward",)) for case in (SMALL, OTHER)]
    status, rows = run(tmp_path / "bench.json")
    assert status == 0
    assert [row["implementation"] for row in rows] == [*COMPILED] * 2
    assert asked == [{"fullgraph": True, "dynamic": False}] * 6
    assert resets == [0, 3]


def test_skipping_is_switched_off_where_it_should_be(
    suite: list[Experiment], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    epsilons: list[float] = []
    forward = eager.pool_forward

    def noted(*inputs: Any) -> Any:
        epsilons.append(inputs[-2])
        return forward(*inputs)

    monkeypatch.setattr(eager, "pool_forward", noted)
    case = Case(2, 200, 16, 4, 2, stds=0.03)
    found = {}
    for name in ("layer", "layer_without_skipping"):
        suite[:] = [Experiment("published", case, (name,), ("forward",))]
        status, rows = run(tmp_path / f"{name}.json")
        assert status == 0
        assert rows[0]["case"]["stds"] == 0.03
        found[name] = set(epsilons)
        epsilons.clear()
    assert found == {"layer": {op.reach_threshold(torch.float32)}, "layer_without_skipping": {0.0}}
