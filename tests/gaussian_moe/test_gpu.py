"""On a GPU: right results in every dtype, the same bits each time, no waiting, graphs of both kinds."""

from __future__ import annotations

import copy
import os

import pytest
import torch
from torch import Tensor

from gaussian_moe import TemporalMoE

# The deterministic mode wants it said before the first product.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: run `make gpu` on one"),
]


def _case(top_k: int) -> tuple[TemporalMoE, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    layer = TemporalMoE(64, num_experts=7, top_k=top_k, dropout=0.0)
    return layer, torch.randn(4, 64), torch.randn(4, 60, 64), torch.tensor([60, 31, 1, 0])


@pytest.mark.parametrize("top_k", [7, 3], ids=["all-experts", "routed-experts"])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.bfloat16, 0.15), (torch.float16, 0.02)])
def test_results_are_those_of_float64_within_the_dtypes_rounding(top_k: int, dtype: torch.dtype, bound: float) -> None:
    layer, question, frames, lengths = _case(top_k)
    exact = copy.deepcopy(layer).double()(question.double(), frames.double(), lengths=lengths)
    layer = layer.to("cuda", dtype)
    got = layer(question.to("cuda", dtype), frames.to("cuda", dtype), lengths=lengths.cuda())
    # The result is a LayerNorm's, of order 1; the bounds are some tens of the dtype's rounding.
    assert (got.double().cpu() - exact).abs().max() < bound
    got.sum().backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in layer.parameters())


def test_the_layer_never_waits_for_the_device() -> None:
    layer, question, frames, lengths = _case(3)
    layer, question, frames, lengths = layer.cuda(), question.cuda(), frames.cuda(), lengths.cuda()
    layer(question, frames, lengths=lengths).sum().backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        layer(question, frames, lengths=lengths).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_layer_can_be_captured_in_a_cuda_graph() -> None:
    layer, question, frames, _ = _case(3)
    layer, question, frames = layer.cuda().eval(), question.cuda(), frames.cuda()
    with torch.no_grad():
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # untyped in torch
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            layer(question, frames)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = layer(question, frames)
        frames.copy_(torch.randn_like(frames))
        graph.replay()
        assert torch.allclose(captured, layer(question, frames), atol=1e-5)


def _errors(layer: TemporalMoE, question: Tensor, frames: Tensor, exact: dict[str, Tensor]) -> dict[str, float]:
    """Largest error of the result and of every gradient against float64, as a share of the largest value."""
    leaves = {
        "question": question.detach().clone().requires_grad_(),
        "frames": frames.detach().clone().requires_grad_(),
        **dict(layer.named_parameters()),
    }
    result = layer(leaves["question"], leaves["frames"])
    found = torch.autograd.grad(result.float().square().sum(), list(leaves.values()), allow_unused=True)
    got = {"result": result, **dict(zip(leaves, found, strict=True))}
    return {
        name: float((value.double().cpu() - exact[name]).abs().max() / exact[name].abs().max().clamp(min=1e-12))
        for name, value in got.items()
        if value is not None
    }


def _exact(layer: TemporalMoE, question: Tensor, frames: Tensor) -> dict[str, Tensor]:
    layer = copy.deepcopy(layer).cpu().double()
    leaves = {
        "question": question.cpu().double().requires_grad_(),
        "frames": frames.cpu().double().requires_grad_(),
        **dict(layer.named_parameters()),
    }
    result = layer(leaves["question"], leaves["frames"])
    found = torch.autograd.grad(result.square().sum(), list(leaves.values()), allow_unused=True)
    return {
        "result": result.detach(),
        **{name: grad for name, grad in zip(leaves, found, strict=True) if grad is not None},
    }


@pytest.mark.parametrize("sizes", [(4, 60, 7, 7), (3, 517, 8, 2), (2, 2048, 16, 2)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_the_kernels_err_at_most_twice_as_much_as_plain_torch(dtype: torch.dtype, sizes: tuple[int, ...]) -> None:
    B, T, E, K = sizes
    torch.manual_seed(0)
    fused = TemporalMoE(256, E, K, dropout=0.0, backend="triton").to("cuda", dtype)
    plain = TemporalMoE(256, E, K, dropout=0.0, backend="torch").to("cuda", dtype)
    plain.load_state_dict(fused.state_dict())
    question, frames = (
        torch.randn(B, 256, device="cuda", dtype=dtype),
        torch.randn(B, T, 256, device="cuda", dtype=dtype),
    )
    exact = _exact(fused, question, frames)
    ours, theirs = (_errors(layer, question, frames, exact) for layer in (fused, plain))
    rounding = torch.finfo(dtype).eps
    for name, error in ours.items():
        assert error <= 2 * max(theirs[name], rounding), (name, error, theirs[name])


def test_the_same_bits_every_time() -> None:
    torch.manual_seed(0)
    layer = TemporalMoE(256, 8, 2, dropout=0.0, backend="triton").cuda()
    question, frames = torch.randn(8, 256, device="cuda"), torch.randn(8, 1000, 256, device="cuda", requires_grad=True)

    def run() -> list[Tensor]:
        result = layer(question, frames)
        leaves = [frames, *layer.parameters()]
        found = torch.autograd.grad(result.square().sum(), leaves, allow_unused=True)
        return [result, *(grad for grad in found if grad is not None)]

    first = run()
    for _ in range(5):
        assert all(torch.equal(a, b) for a, b in zip(first, run(), strict=True))


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_the_same_bits_with_the_deterministic_flag(backend: str) -> None:
    """Nothing is without a deterministic algorithm, masks and times included, and every run gives the same."""
    torch.manual_seed(0)
    layer = TemporalMoE(64, 8, 2, heads=4, backend=backend).cuda()
    padding = torch.rand(4, 300, device="cuda") < 0.3
    times = torch.rand(4, 300, device="cuda").sort().values

    def run(timing: dict[str, Tensor]) -> list[Tensor]:
        torch.manual_seed(1)
        question, frames = torch.randn(4, 64, device="cuda"), torch.randn(4, 300, 64, device="cuda", requires_grad=True)
        result = layer(question, frames, **timing)
        found = torch.autograd.grad(result.square().sum(), [frames, *layer.parameters()], allow_unused=True)
        return [result, *(grad for grad in found if grad is not None)]

    torch.use_deterministic_algorithms(True)
    try:
        for timing in ({}, {"key_padding_mask": padding}, {"key_padding_mask": padding, "times": times}):
            first = run(timing)
            for _ in range(3):
                assert all(torch.equal(a, b) for a, b in zip(first, run(timing), strict=True))
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_with_the_kernels_in_one_graph(dynamic: bool) -> None:
    torch._dynamo.reset()
    layer, question, frames, _ = _case(3)
    layer, question, frames = layer.cuda(), question.cuda(), frames.cuda().requires_grad_()
    compiled = torch.compile(layer, fullgraph=True, dynamic=dynamic)
    for num_frames in (60, 33):
        x = frames[:, :num_frames]
        got, wanted = compiled(question, x), layer(question, x)
        assert torch.allclose(got, wanted, atol=1e-4)
        ours, theirs = (torch.autograd.grad(y.square().sum(), frames)[0] for y in (got, wanted))
        assert torch.allclose(ours, theirs, atol=1e-3)


def test_a_training_step_can_be_captured_in_a_cuda_graph() -> None:
    layer, question, frames, lengths = _case(3)
    layer, question, frames, lengths = layer.cuda(), question.cuda(), frames.cuda(), lengths.cuda()

    def step() -> None:
        layer(question, frames, lengths=lengths).square().sum().backward()

    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # untyped in torch
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
            layer.zero_grad(set_to_none=True)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    graph.replay()
    captured = {name: p.grad.clone() for name, p in layer.named_parameters() if p.grad is not None}
    layer.zero_grad(set_to_none=True)
    step()
    for name, parameter in layer.named_parameters():
        if parameter.grad is not None:
            assert torch.allclose(captured[name], parameter.grad, atol=1e-4), name
