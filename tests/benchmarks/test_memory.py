"""Peak memory of computations whose peak is known by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks import memory
from benchmarks.cases import EAGER, PUBLISHED, Case
from benchmarks.contest import LayerContest
from benchmarks.memory import Budget, estimated_bytes, peak_bytes

MIB = 2**20


def test_the_peak_is_the_most_at_a_time_without_what_is_returned() -> None:
    a = torch.zeros(MIB // 4)

    def call() -> list[Tensor]:
        b = torch.cat([a, a])  # 2 MiB
        c = torch.cat([b, b])  # 4 MiB: the peak, 6
        del b
        d = torch.cat([a, a])  # 2 MiB: 6 again
        del c
        return [d]

    assert peak_bytes(call, "cpu") == 4 * MIB


def test_temporaries_of_torchs_own_code_count() -> None:
    a = torch.zeros(1024, 1024)
    # logsumexp makes exp(a - max), 4 MiB, out of sight of Python.
    peak = peak_bytes(lambda: [a.logsumexp(1)], "cpu")
    assert 4 * MIB <= peak < 5 * MIB


def test_a_tensor_that_is_returned_twice_counts_once() -> None:
    def call() -> list[Tensor]:
        b = torch.zeros(MIB // 4)
        return [b, b.view(-1, 4)]

    assert peak_bytes(call, "cpu") == 0


def test_gradients_are_taken_off_and_activations_stay() -> None:
    x, w = torch.zeros(512, 256), torch.zeros(256, 1024, requires_grad=True)

    def call() -> tuple[Tensor, ...]:
        hidden = x @ w  # 2 MiB
        return torch.autograd.grad(hidden.relu().sum(), [w])

    # The hidden layer, what the ReLU kept and the hidden layer's gradient, 2 MiB each, less the gradient of w, 1 MiB.
    assert peak_bytes(call, "cpu") // MIB == 5


@pytest.mark.parametrize("implementation", EAGER)
def test_estimates_are_on_the_safe_side(implementation: str) -> None:
    case = Case(4, 60, 64, 7, 3)
    computation = LayerContest(case, "cpu").make(implementation)
    computation.both()
    assert peak_bytes(computation.both, "cpu") < estimated_bytes(case, implementation, gradients=True)


def test_what_needs_more_than_the_limit_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_available_bytes", lambda device: 2**30)
    long = Case(1, 16384, 512, 64, 2)
    assert Budget("cpu").left_out(PUBLISHED[0], {"layer": True}) == {}
    left_out = Budget("cpu").left_out(long, {"layer": False, "published": False})
    assert list(left_out) == ["published"]
    assert left_out["published"].endswith("0.8 GiB may be used")
    assert Budget("cpu", max_gib=100.0).left_out(long, {"published": False}) == {}
