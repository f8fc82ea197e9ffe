"""The baseline computes what the layer computes, and a wrong result gets no number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import benchmarks.__main__ as command
from benchmarks.measure import flops, timings
from benchmarks.published import PublishedMoE
from gaussian_moe import TemporalMoE

SMALL = (2, 9, 16, 4, 2)


@pytest.mark.parametrize(("experts", "top_k"), [(7, 7), (10, 3)])
def test_the_published_computation_is_the_layers(experts: int, top_k: int) -> None:
    torch.manual_seed(0)
    layer = TemporalMoE(16, experts, top_k, heads=4, dropout=0.0).double()
    question, frames = torch.randn(3, 16).double(), torch.randn(3, 20, 16).double()
    ours, theirs = layer(question, frames), PublishedMoE(layer)(question, frames)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    grad, their_grad = (
        torch.autograd.grad(result.square().sum(), layer.experts.weight1)[0] for result in (ours, theirs)
    )
    assert torch.allclose(grad, their_grad, rtol=0, atol=1e-10)


def test_a_row_has_both_times_and_fewer_flops_than_published() -> None:
    row = command.measure((2, 60, 64, 7, 3), "cpu")
    assert row["forward"]["low"] <= row["forward"]["median"] <= row["forward"]["high"]
    assert row["both"]["median"] > row["forward"]["median"] > 0
    assert row["flops_ratio"] < 0.7


def test_a_wrong_result_gets_no_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forward = PublishedMoE.forward
    monkeypatch.setattr(PublishedMoE, "forward", lambda self, *inputs: forward(self, *inputs) + 1e-2)
    monkeypatch.setattr(command, "SIZES", (SMALL,))
    monkeypatch.setattr("sys.argv", ["benchmarks", "run", "--out", str(tmp_path / "bench.json")])
    assert command.main() == 1
    (row,) = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert row.keys() == {"size", "error"}
    assert "published computation differs" in row["error"]


def test_flops_and_timings_count_what_they_are_given() -> None:
    a, b = torch.randn(8, 16), torch.randn(16, 4)
    assert flops(lambda: a @ b) == 2 * 8 * 16 * 4
    calls: list[int] = []
    assert len(timings([lambda: calls.append(0), lambda: calls.append(1)])) == 2
    assert calls.count(0) == calls.count(1)
