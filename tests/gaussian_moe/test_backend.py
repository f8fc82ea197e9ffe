"""Which backend is asked for, and what is said where it is not there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from gaussian_moe import PatchFusion, ProgressiveRefiner, QuestionFusion, QuestionRouter, TemporalMoE, backend
from gaussian_moe.attention import Attention
from gaussian_moe.backend import VARIABLE, fused
from gaussian_moe.functional import pool
from gaussian_moe.kernels import runtime
from gaussian_moe.kernels.expert_mix import op as mix_op
from gaussian_moe.kernels.expert_pool import op as pool_op
from gaussian_moe.linear import Linear
from tests.conftest import LIMITS
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


@pytest.mark.parametrize("layer", [QuestionFusion, PatchFusion, ProgressiveRefiner, Attention, partial(Linear, 16)])
def test_layers_without_kernels_say_so(layer: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="backend='triton': this layer has no Triton kernel; use 'auto' or 'torch'"):
        layer(16, backend="triton")
    with pytest.raises(ValueError, match="backend must be one of auto, triton, torch, got 'fast'"):
        layer(16, backend="fast")


def test_a_routers_attention_has_no_kernel_to_ask_for() -> None:
    assert [QuestionRouter(16, backend=name).attention.backend for name in backend.BACKENDS] == [
        "auto",
        "auto",
        "torch",
    ]


def test_an_order_that_is_not_fused_takes_the_torch_path() -> None:
    """And says so where the kernels are asked for."""
    small_moe(released=True)(*INPUTS)
    with pytest.raises(ValueError, match="released_expert_order exists for the torch path only"):
        TemporalMoE(16, heads=4, released_expert_order=True, backend="triton")


@interpreter_off
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_small_inputs_give_what_the_operators_give(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions, streams and padding that holds NaN, with the limits as they are shipped and with none."""
    moe = TemporalMoE(16, 7, 3, heads=4, num_streams=2, dtype=dtype).eval()
    question, frames, streams = (torch.randn(shape, dtype=dtype) for shape in ((2, 3, 16), (2, 9, 16), (2, 2, 9, 16)))
    frames[1, 4:] = torch.nan
    results = []
    for limit in (0, 2**25):
        monkeypatch.setattr(backend, "SMALL", limit)
        results.append(moe(question, frames, streams=streams, lengths=torch.tensor([9, 4])))
    tolerance = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(results[1], results[0], rtol=tolerance, atol=tolerance)


def _noted(function: Callable[..., Any], name: str, called: list[str]) -> Callable[..., Any]:
    """The function, which notes that it was called."""

    def noted(*given: Any) -> Any:
        called.append(name)
        return function(*given)

    return noted


@interpreter_off
def test_the_operators_get_what_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what is small, nor one frame, which has nothing to fuse; and a counter of FLOPs knows them before."""
    called: list[str] = []
    for name, op in (("expert_pool", pool_op), ("expert_mix", mix_op)):
        monkeypatch.setattr(op, "count_flops", _noted(op.count_flops, f"counted {name}", called))
        monkeypatch.setattr(op, name, _noted(getattr(op, name), name, called))
    both = ["counted expert_pool", "expert_pool", "counted expert_mix", "expert_mix"]
    moe = small_moe()
    for limit, num_frames, wanted in ((0, 5, both), (0, 1, []), (2**25, 5, [])):
        monkeypatch.setattr(backend, "SMALL", limit)
        called.clear()
        moe(torch.zeros(2, 16), torch.zeros(2, num_frames, 16))
        assert called == wanted


@pytest.mark.parametrize("given_weights", [True, False])
def test_what_is_weighed_is_the_first_layers_multiplications(
    given_weights: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every question's experts, in every stream, over every frame."""
    asked: list[tuple[int, int, bool]] = []

    def noted(multiplications: int, num_frames: int, needs_grad: bool) -> bool:
        asked.append((multiplications, num_frames, needs_grad))
        return True

    monkeypatch.setattr(pool, "is_small", noted)
    B, Q, K, S, T, H, D = 2, 3, 2, 4, 5, 6, 7
    bank = torch.randn(8, H, D), torch.randn(8, H), torch.randn(8, D, H), torch.randn(8, D)
    gates, indices = torch.rand(B, Q, K), torch.randint(0, 8, (B, Q, K))
    weights = torch.rand(B, Q, K, T) if given_weights else None
    centers = None if given_weights else torch.rand(B, Q, K)
    frames = torch.randn(B, S, T, D).requires_grad_(given_weights)
    pool.gaussian_expert_pool(frames, gates, indices, weights, *bank, centers=centers, stds=centers)
    assert asked == [(B * Q * K * S * T * H * D, T, given_weights)]


@interpreter_off
@pytest.mark.parametrize(("enabled", "needed"), [(True, True), (True, False), (False, True)])
def test_bits_are_saved_where_a_gradient_may_be_asked_for(
    enabled: bool, needed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[bool] = []
    pool = pool_op.expert_pool

    def noting(*given: Any) -> Any:
        saved.append(given[-1])
        return pool(*given)

    monkeypatch.setattr(pool_op, "expert_pool", noting)
    monkeypatch.setattr(backend, "SMALL", 0)
    moe = small_moe().requires_grad_(needed)
    with torch.set_grad_enabled(enabled):
        moe(*INPUTS)
    assert saved == [enabled and needed]


def test_in_a_compiled_graph_an_unknown_size_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    assert backend.surely_below(3, 4)
    assert not backend.surely_below(4, 4)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    for knows_symbols in (True, False):
        monkeypatch.setattr(backend, "_COMPILES_SYMBOLS", knows_symbols)
        # A compiler that cannot tell symbols from numbers takes all for large.
        assert backend.surely_below(3, 4) is knows_symbols
        assert not backend.surely_below(4, 4)


@pytest.mark.parametrize(
    ("compiles", "num_frames", "needs_grad", "most"),
    [
        (False, 9, True, 2**25),
        (True, 9, True, 70 * 10**6),
        (True, 256, False, 70 * 10**6),
        (True, 255, False, 19 * 10**7),
    ],
)
def test_what_is_small(
    compiles: bool, num_frames: int, needs_grad: bool, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As measured. Short clips of a compiled graph are for longer, as long as no backward pass follows."""
    for name, limit in LIMITS.items():
        monkeypatch.setattr(backend, name, limit)
    if compiles:
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
        monkeypatch.setattr(backend, "_COMPILES_SYMBOLS", True)
    assert backend.is_small(most - 1, num_frames, needs_grad)
    assert not backend.is_small(most, num_frames, needs_grad)
