"""On a GPU: CUDA graphs give the same results, memory is counted, and a small suite runs from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

import benchmarks.__main__ as command
from benchmarks import cases
from benchmarks.cases import EAGER, GRAPHS, PASSES, Case, Experiment
from benchmarks.contest import LayerContest
from benchmarks.memory import peak_bytes

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: run `make gpu` on one"),
]
MIB = 2**20


def test_the_peak_is_the_most_at_a_time_without_what_is_returned() -> None:
    a = torch.zeros(4 * MIB, device="cuda")  # 16 MiB

    def call() -> list[Tensor]:
        b = torch.cat([a, a])  # 32 MiB
        c = torch.cat([b, b])  # 64 MiB: the peak, 96
        del b
        d = torch.cat([a, a])  # 32 MiB: 96 again
        del c
        return [d]

    call()
    assert peak_bytes(call, "cuda") == 64 * MIB


@pytest.mark.parametrize("name", [name for name in GRAPHS if "compiled" not in name])
def test_a_replayed_graph_agrees_with_float64_each_time(name: str) -> None:
    contest = LayerContest(Case(4, 60, 64, 7, 3), "cuda")
    computation = contest.make(name)
    for _ in range(2):
        errors = contest.errors(computation, gradients=True)
        assert contest.bounds(name, gradients=True).fault(errors) is None


@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_a_small_suite_runs_from_end_to_end(dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GAUSSIAN_MOE_BACKEND", raising=False)
    case = Case(4, 60, 64, 7, 3, dtype)
    compared = (*EAGER, "layer_graph", "factored_graph", "published_graph")
    experiment = Experiment("published", case, compared, PASSES, EAGER, flops=True)
    monkeypatch.setitem(cases.SUITES, "published", lambda device: [experiment])
    path = tmp_path / "bench.json"
    assert command.main(["run", "--suite", "published", "--out", str(path)]) == 0
    for row in json.loads(path.read_text())["rows"]:
        assert set(row["times"]) == ({"forward", "both"} if "graph" in row["implementation"] else set(PASSES))


def test_the_pool_suite_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GAUSSIAN_MOE_BACKEND", raising=False)
    compared = ("expert_pool", "expert_pool_skipping", "matrix_product")
    experiment = Experiment("pool", Case(4, 200, 64, 8, 2, dtype="bfloat16"), compared, ("forward",))
    monkeypatch.setitem(cases.SUITES, "pool", lambda device: [experiment])
    assert command.main(["run", "--suite", "pool", "--out", str(tmp_path / "bench.json")]) == 0
