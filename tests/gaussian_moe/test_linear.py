"""When the layers' linear maps are the operator, and that nobody sees it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.profiler import ProfilerActivity, profile

from gaussian_moe.backend import VARIABLE
from gaussian_moe.functional import linear_map
from gaussian_moe.kernels import product
from gaussian_moe.kernels.linear import op
from gaussian_moe.linear import Linear
from tests.gaussian_moe.support import assert_close

pytestmark = pytest.mark.skipif(not product.ONEDNN, reason="this PyTorch has no oneDNN")
WIDTH = 64
ROWS = 2**22 // WIDTH**2


def runs_operator(call: Callable[[], object]) -> bool:
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        call()
    return any(event.key == "gaussian_moe::linear" for event in recorded.key_averages())


@pytest.fixture
def layer() -> Linear:
    return Linear(WIDTH, WIDTH)


def test_from_the_least_size_on(layer: Linear) -> None:
    assert not runs_operator(lambda: layer(torch.randn(ROWS - 1, WIDTH)))
    assert runs_operator(lambda: layer(torch.randn(ROWS, WIDTH)))
    assert runs_operator(lambda: layer(torch.randn(2, 2, ROWS // 4, WIDTH)))


def test_a_counter_of_flops_knows_the_operator_before(layer: Linear, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []
    monkeypatch.setattr(op, "count_flops", lambda: told.append(True))
    layer(torch.randn(ROWS - 1, WIDTH))
    assert not told
    layer(torch.randn(ROWS, WIDTH))
    assert told


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_not_in_another_dtype(layer: Linear, dtype: torch.dtype) -> None:
    assert not runs_operator(lambda: layer.to(dtype)(torch.randn(ROWS, WIDTH, dtype=dtype)))
    plain = Linear(WIDTH, WIDTH, bias=False, dtype=dtype)
    assert not runs_operator(lambda: plain(torch.randn(ROWS, WIDTH, dtype=dtype)))


def test_not_under_autocast(layer: Linear) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert not runs_operator(lambda: layer(torch.randn(ROWS, WIDTH)))
        assert layer(torch.randn(ROWS, WIDTH)).dtype == torch.bfloat16


def test_not_where_the_environment_says_torch(layer: Linear, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "torch")
    assert not runs_operator(lambda: layer(torch.randn(ROWS, WIDTH)))


def test_exports_as_aten(layer: Linear) -> None:
    program = torch.export.export(layer, (torch.randn(ROWS, WIDTH),))
    assert not [node for node in program.graph.nodes if "gaussian_moe" in str(node.target)]


def test_equals_nn_linear(layer: Linear) -> None:
    theirs = nn.Linear(WIDTH, WIDTH)
    theirs.load_state_dict(layer.state_dict())
    results: list[list[Tensor]] = []
    data = torch.randn(2, 3, ROWS, WIDTH)
    for each in (layer, theirs):
        x = data.clone().requires_grad_()
        out = each(x)
        out.square().mean().backward()
        results.append([out, *(leaf.grad for leaf in (x, each.weight, each.bias) if leaf.grad is not None)])
    assert len(results[0]) == 4
    for got, wanted in zip(*results, strict=True):
        assert_close(got, wanted, 1e-5)


@pytest.mark.slow
def test_one_compilation_serves_both_sides_of_the_limit(layer: Linear, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_map, "SMALL_LINEAR", 12 * WIDTH**2)
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(layer, fullgraph=True, backend=counter, dynamic=True)
    for rows in (6, 24, 3):
        x = torch.randn(rows, WIDTH, requires_grad=True)
        assert_close(compiled(x), layer(x), 1e-5)
        (found,) = torch.autograd.grad(compiled(x).square().sum(), x)
        assert_close(found, torch.autograd.grad(layer(x).square().sum(), x)[0], 1e-5)
    assert counter.frame_count == 1
    torch._dynamo.reset()
