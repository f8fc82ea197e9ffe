"""Which backend is asked for, and what is said where it is not there."""

from __future__ import annotations

import pytest
import torch

from gaussian_moe import TemporalMoE
from gaussian_moe.backend import VARIABLE, resolve_backend
from tests.gaussian_moe.support import small_moe

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
        resolve_backend("cpu")


def test_unknown_name_in_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "cuda")
    with pytest.raises(ValueError, match="GAUSSIAN_MOE_BACKEND must be one of auto, triton, torch, got 'cuda'"):
        small_moe()(*INPUTS)


def test_an_argument_outweighs_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "triton")
    assert TemporalMoE(16, heads=4, backend="torch")(*INPUTS).shape == (2, 16)


def test_triton_in_the_argument_says_why_not() -> None:
    with pytest.raises(ValueError, match="backend='triton': this version has no fused kernel; use 'auto' or 'torch'"):
        TemporalMoE(16, heads=4, backend="triton")(*INPUTS)


def test_triton_in_the_variable_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "triton")
    with pytest.raises(ValueError, match="GAUSSIAN_MOE_BACKEND='triton': this version has no fused kernel"):
        small_moe()(*INPUTS)
