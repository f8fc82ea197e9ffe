"""On a GPU: the same results as on the CPU in float64, no waiting for the device, and capture in a CUDA graph."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from gaussian_moe import TemporalMoE

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
