"""The linear operator and its weight's gradient: PyTorch's own linear map, to rounding, in every form of input."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from gaussian_moe.kernels.linear import op
from gaussian_moe.kernels.product import ROWS
from tests.gaussian_moe.support import assert_close, assert_same_gradients, gradients

ROOT = Path(__file__).parents[2]
# A single row; an odd number of everything; a part, a part and one row more, and more than two parts.
SHAPES = [(1, 3, 5), (7, 5, 3), (ROWS, 4, 8), (ROWS + 1, 8, 4), (2 * ROWS + 77, 16, 3)]


def leaves(M: int, P: int, N: int, dtype: torch.dtype) -> dict[str, Tensor]:
    shapes = {"x": (M, P), "weight": (N, P), "bias": (N,)}
    return {name: torch.randn(shape, dtype=dtype).requires_grad_() for name, shape in shapes.items()}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("with_bias", [True, False])
def test_float32_equals_float64(shape: tuple[int, int, int], with_bias: bool) -> None:
    rounded = leaves(*shape, torch.float32)
    if not with_bias:
        del rounded["bias"]
    exact = {name: tensor.detach().double().requires_grad_() for name, tensor in rounded.items()}
    got = op.linear(rounded["x"], rounded["weight"], rounded.get("bias"))
    wanted = torch.nn.functional.linear(exact["x"], exact["weight"], exact.get("bias"))
    assert_close(got.double(), wanted, 1e-6)
    ours, theirs = gradients(got, rounded), gradients(wanted, exact)
    assert_same_gradients({name: found.double() for name, found in ours.items() if found is not None}, theirs, 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_views_and_expanded_gradients(dtype: torch.dtype) -> None:
    x, weight = torch.randn(6, 2 * ROWS + 9, dtype=dtype).t(), torch.randn(6, 10, dtype=dtype)[:, ::2].t()
    x.requires_grad_()
    weight.requires_grad_()
    found = torch.autograd.grad(op.linear(x, weight, None).sum(), (x, weight))
    wanted = torch.autograd.grad((x @ weight.t()).sum(), (x, weight))
    for got, want in zip(found, wanted, strict=True):
        assert_close(got, want, 1e-6)


@pytest.mark.parametrize("rows", [0, 4])
def test_gradients_and_their_gradients(rows: int) -> None:
    inputs = tuple(leaves(rows, 3, 2, torch.float64).values())
    assert torch.autograd.gradcheck(op.linear, inputs)
    assert torch.autograd.gradgradcheck(op.linear, inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_as_pytorch_wants_its_operators(dtype: torch.dtype) -> None:
    x, weight, bias = leaves(5, 3, 2, dtype).values()
    for each in (bias, None):
        torch.library.opcheck(torch.ops.gaussian_moe.linear, (x, weight, each))
    torch.library.opcheck(torch.ops.gaussian_moe.linear_weight_gradient, (torch.randn(5, 2, dtype=dtype), x))


def test_flops_are_those_of_the_products() -> None:
    def counted(**tensors: Tensor) -> int:
        with FlopCounterMode(display=False) as counter:
            op.count_flops()
            op.linear(*tensors.values()).sum().backward()
        return int(counter.get_total_flops())

    assert counted(**leaves(7, 5, 3, torch.float32)) == 3 * 2 * 7 * 5 * 3


@pytest.mark.slow
def test_a_counter_that_already_counts_learns_the_formulas() -> None:
    """The first layer that is counted in a process registers them."""
    program = """
import torch
from torch.utils.flop_counter import FlopCounterMode
from gaussian_moe import TemporalMoE
moe, question, frames = TemporalMoE(256, 4, 2), torch.randn(16, 256), torch.randn(16, 300, 256)
counts = []
for _ in range(2):
    with FlopCounterMode(display=False) as counter:
        moe(question, frames)
    counts.append(counter.get_total_flops())
assert counts[0] == counts[1] > 0, counts
"""
    # What is counted does not depend on the interpreter, which would take a minute.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TRITON_INTERPRET": "0"}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
