"""Which backend is asked for, and what is said where it is not there."""

from __future__ import annotations

import pytest
import torch

from gaussian_moe import TemporalMoE
from gaussian_moe.backend import VARIABLE, fused
from gaussian_moe.kernels import runtime
from tests.gaussian_moe.support import small_moe

interpreter_off = pytest.mark.skipif(runtime.INTERPRETED, reason="under the interpreter a CPU runs the kernels")
INPUTS = torch.zeros(2, 16), torch.zeros(2, 5, 16)


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_there(backend: str) -> None:
    assert TemporalMoE(16, heads=4, backend=backend)(*INPUTS).shape == (2, 16)


@pytest.mark.parametrize("value", ["auto", "torch"])
def test_variable_is_read_at_each_call(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, value)
    assert small_moe()(*INPUTS).shape == (2, 16)


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match="backend must be one of auto, triton, torch, got 'cpu'"):
        fused("cpu", torch.device("cpu"), torch.float32)


def test_unknown_name_in_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "cuda")
    with pytest.raises(ValueError, match="GAUSSIAN_MOE_BACKEND must be one of auto, triton, torch, got 'cuda'"):
        small_moe()(*INPUTS)


def test_an_argument_outweighs_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "triton")
    assert TemporalMoE(16, heads=4, backend="torch")(*INPUTS).shape == (2, 16)


@interpreter_off
def test_triton_on_a_cpu_says_why_not() -> None:
    why = "backend='triton': on a CPU the kernels run under Triton's interpreter only .*; use 'auto' or 'torch'"
    with pytest.raises(ValueError, match=why):
        TemporalMoE(16, heads=4, backend="triton")(*INPUTS)


@interpreter_off
def test_triton_in_the_variable_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "triton")
    with pytest.raises(ValueError, match="GAUSSIAN_MOE_BACKEND='triton': on a CPU"):
        small_moe()(*INPUTS)


@pytest.mark.parametrize(
    ("device", "dtype", "unfused", "why"),
    [
        ("mps", torch.float32, None, "the kernels run on CUDA devices, not on 'mps'"),
        ("cuda", torch.float64, None, "the kernels have no float64"),
        ("cuda", torch.float32, "such times have none", "such times have none"),
    ],
)
def test_a_request_that_triton_cannot_meet(
    device: str, dtype: torch.dtype, unfused: str | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "INTERPRETED", False)
    assert fused("auto", torch.device(device), dtype, unfused) is False
    with pytest.raises(ValueError, match=why):
        fused("triton", torch.device(device), dtype, unfused)


def test_without_triton_a_gpu_takes_the_torch_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "triton_there", lambda: False)
    assert fused("auto", torch.device("cuda"), torch.float32) is False
    assert fused("auto", torch.device("cpu"), torch.float32) is True
    with pytest.raises(ValueError, match="the package triton is not installed"):
        fused("triton", torch.device("cuda"), torch.float32)


def test_with_triton_a_gpu_is_fused() -> None:
    if runtime.triton_there():
        assert fused("auto", torch.device("cuda"), torch.bfloat16) is True
        assert fused("triton", torch.device("cuda"), torch.bfloat16) is True


def test_an_order_that_is_not_fused_takes_the_torch_path() -> None:
    """And says so where the kernels are asked for."""
    small_moe(released=True)(*INPUTS)
    with pytest.raises(ValueError, match="released_expert_order exists for the torch path only"):
        TemporalMoE(16, heads=4, released_expert_order=True, backend="triton")
