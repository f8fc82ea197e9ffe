"""Graphs: one graph without a break, compiled once for every length."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.profiler import ProfilerActivity, profile

from gaussian_moe import TemporalMoE, backend
from gaussian_moe.kernels import runtime
from tests.gaussian_moe.support import assert_close, assert_same_gradients, gradients, small_moe, stirred


@pytest.fixture(autouse=True)
def _fresh_graphs() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def inputs(num_frames: int, clips: int = 3) -> tuple[Tensor, Tensor]:
    return torch.randn(clips, 16), torch.randn(clips, num_frames, 16)


@pytest.mark.slow
def test_one_graph_of_a_layer_that_has_not_run_yet() -> None:
    """In a process of its own: whoever has called a layer before has told the compiler about einops."""
    program = """
import torch
from gaussian_moe import TemporalMoE
moe = torch.compile(TemporalMoE(16, 5, 2, heads=4).eval(), fullgraph=True, backend="eager")
print(tuple(moe(torch.randn(2, 16), torch.randn(2, 9, 16)).shape))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "(2, 16)\n", done.stderr[-3000:]


@pytest.mark.parametrize("top_k", [3, pytest.param(7, marks=pytest.mark.slow)])
def test_one_graph_forward_and_backward(top_k: int) -> None:
    moe = small_moe(top_k=top_k, num_streams=2)
    compiled = torch.compile(moe, fullgraph=True, backend="aot_eager")
    question, frames = inputs(9)
    leaves = {"question": question.requires_grad_(), "frames": frames.requires_grad_(), **dict(moe.named_parameters())}
    timing = {"lengths": torch.tensor([9, 0, 4]), "times": torch.rand(9).sort().values, "duration": 2.0}
    streams = torch.randn(3, 2, 9, 16)
    got = compiled(question, frames, streams=streams, **timing)
    wanted = moe(question, frames, streams=streams, **timing)
    assert_close(got, wanted, 1e-6)
    assert_same_gradients(gradients(got, leaves), gradients(wanted, leaves), 1e-5)


VARIANTS: list[tuple[dict[str, Any], bool]] = [
    ({"window": "box", "normalization": "none"}, False),
    ({"normalization": "sum", "num_gaussians": 2, "learned_anchors": True}, True),
    ({"window": "laplace", "activation": "gelu", "temperature": 0.5}, False),
]


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "per_expert"), VARIANTS)
def test_one_graph_of_each_variant(variant: dict[str, Any], per_expert: bool) -> None:
    moe = stirred(TemporalMoE(16, 7, 3, heads=4, **variant))
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(moe, fullgraph=True, backend=counter, dynamic=True)
    for clips, num_frames in ((2, 9), (5, 31), (3, 128)):
        question, frames = inputs(num_frames, clips)
        lengths = torch.randint(0, num_frames + 1, (clips,))
        wanted = moe(question, frames, lengths=lengths, per_expert=per_expert)
        assert_close(compiled(question, frames, lengths=lengths, per_expert=per_expert), wanted, 1e-6)
    assert counter.frame_count == 1


SIZES = [(2, 9), (3, 2), (5, 63), (2, 60), (4, 3), (7, 17), (3, 128), (16, 5), (2, 200), (9, 31)]  # clips, frames


@pytest.mark.parametrize(
    ("top_k", "backend"),
    [(3, "auto"), *(pytest.param(*case, marks=pytest.mark.slow) for case in [(3, "torch"), (7, "auto"), (7, "torch")])],
)
def test_one_compilation_serves_every_size(top_k: int, backend: str) -> None:
    moe = TemporalMoE(16, 7, top_k, heads=4, backend=backend).eval()
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(moe, fullgraph=True, backend=counter, dynamic=True)
    for clips, num_frames in SIZES:
        question, frames = inputs(num_frames, clips)
        frames.requires_grad_()
        got, wanted = compiled(question, frames), moe(question, frames)
        assert_close(got, wanted, 1e-6)
        ours, theirs = (torch.autograd.grad(pooled.square().sum(), frames)[0] for pooled in (got, wanted))
        assert_close(ours, theirs, 1e-5)
    assert counter.frame_count == 1


@pytest.mark.slow
@pytest.mark.skipif(torch.__version__ < "2.8", reason="compiled layers take the torch path before PyTorch 2.8")
@pytest.mark.skipif(runtime.INTERPRETED, reason="under the interpreter a CPU always runs the kernels")
def test_what_is_small_is_plain_and_compiles_no_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes on both sides of the limit are compiled once where they are symbols."""
    moe, limit = TemporalMoE(16, 7, 3, heads=4).eval(), 2 * 3 * 9 * 16 * 8 + 1  # clips, experts, frames, D, H
    counter = CompileCounterWithBackend("eager")

    def runs_operators(call: Callable[..., Tensor], num_frames: int) -> bool:
        with profile(activities=[ProfilerActivity.CPU]) as recorded:
            call(*inputs(num_frames, 2))
        return any(event.key.startswith("gaussian_moe::") for event in recorded.key_averages())

    def check(name: str, needs_grad: bool, compiled: bool) -> None:
        with monkeypatch.context() as patch, torch.set_grad_enabled(needs_grad):
            patch.setattr(backend, name, limit)
            torch._dynamo.reset()
            call = torch.compile(moe, fullgraph=True, backend="eager", dynamic=False) if compiled else moe
            assert [runs_operators(call, num_frames) for num_frames in (9, 10)] == [False, True]

    check("SMALL", needs_grad=False, compiled=False)
    check("SMALL", needs_grad=True, compiled=False)
    check("SMALL_SHORT", needs_grad=False, compiled=True)
    check("SMALL_COMPILED", needs_grad=True, compiled=True)
    monkeypatch.setattr(backend, "SHORT", 9)
    check("SMALL_COMPILED", needs_grad=False, compiled=True)
    torch._dynamo.reset()
    for name in ("SMALL", "SMALL_SHORT", "SMALL_COMPILED"):
        monkeypatch.setattr(backend, name, limit)
    with torch.no_grad():
        call = torch.compile(moe, fullgraph=True, backend=counter, dynamic=True)
        assert [runs_operators(call, num_frames) for num_frames in (9, 10, 5)] == [True, True, True]
    assert counter.frame_count == 1


@pytest.mark.slow
def test_generated_code_agrees_with_streams_and_gradients() -> None:
    moe = small_moe(top_k=3, num_streams=2)
    question, frames = inputs(9)
    leaves = {"question": question.requires_grad_(), "frames": frames.requires_grad_(), **dict(moe.named_parameters())}
    streams = torch.randn(3, 2, 9, 16)
    got, wanted = (
        torch.compile(moe, fullgraph=True)(question, frames, streams=streams),
        moe(question, frames, streams=streams),
    )
    assert_close(got, wanted, 1e-5)
    assert_same_gradients(gradients(got, leaves), gradients(wanted, leaves), 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [False, True])
def test_generated_code_agrees(dynamic: bool) -> None:
    """Through the compiler's own code generator, forward and backward."""
    moe = small_moe(top_k=3)
    compiled = torch.compile(moe, fullgraph=True, dynamic=dynamic)
    for clips, num_frames in SIZES[: 3 if dynamic else 1]:
        question, frames = inputs(num_frames, clips)
        leaves = [frames.requires_grad_(), *moe.parameters()]
        got, wanted = compiled(question, frames), moe(question, frames)
        assert_close(got, wanted, 1e-5)
        for ours, theirs in zip(*(torch.autograd.grad(y.square().sum(), leaves) for y in (got, wanted)), strict=True):
            assert_close(ours, theirs, 1e-5)
