"""The registered operators as PyTorch sees them: schema, fake tensors, autograd, graphs, FLOPs, refusals.

Run with TRITON_INTERPRET=1 the same tests go through the Triton kernels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from gaussian_moe.functional import gaussian_expert_pool, gaussian_weights
from gaussian_moe.kernels import runtime
from gaussian_moe.kernels.expert_pool import eager
from gaussian_moe.kernels.expert_pool import op as pool_op
from gaussian_moe.kernels.gaussian_weights import op as weights_op
from tests.kernels.marks import slow_when_interpreted

B, S, T, D, E, H, G = 2, 2, 7, 5, 4, 6, 3
TIMINGS = ["even", "lengths", "padding"]


@pytest.fixture(autouse=True)
def _fresh_graphs() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture(params=["kernel"] if runtime.INTERPRETED else ["routed", "dense"])
def _path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways in which the CPU computes a pool."""
    monkeypatch.setattr(eager, "_prefers_dense", lambda *sizes: request.param == "dense")


def timing(kind: str, num_frames: int = T) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Times, lengths, padding: the second clip is shorter."""
    if kind == "even":
        return None, None, None
    if kind == "lengths":
        return None, torch.tensor([num_frames, max(num_frames - 3, 0)]), None
    padding = torch.zeros(B, num_frames, dtype=torch.bool)
    padding[1, 1:3] = True
    return torch.rand(B, num_frames, dtype=torch.float64).sort(-1).values, None, padding


def gaussians() -> tuple[Tensor, Tensor]:
    centers = torch.rand(B, G, dtype=torch.float64).requires_grad_()
    stds = (0.05 + 0.1 * torch.rand(B, G, dtype=torch.float64)).requires_grad_()
    return centers, stds


def pool_inputs(given: bool, kind: str) -> list[Any]:
    """All arguments of expert_pool, in float64 and differentiable."""
    centers, stds = gaussians()
    weights = torch.randn(B, G, T, dtype=torch.float64).requires_grad_()
    profile = (weights, None, None) if given else (None, centers, stds)
    leaves = (torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in ((B, S, T, D), (E, H, D), (E, H)))
    return [*leaves, torch.randint(0, E, (B, G)), *profile, *timing(kind), 0.0, True]


@slow_when_interpreted
@pytest.mark.parametrize("kind", TIMINGS)
def test_weights_pass_opcheck_and_gradcheck(kind: str) -> None:
    inputs = (*gaussians(), *timing(kind), T)
    torch.library.opcheck(weights_op.gaussian_weights, inputs)
    weights = weights_op.gaussian_weights
    assert torch.autograd.gradcheck(lambda c, s: weights(c, s, *inputs[2:]), inputs[:2], fast_mode=runtime.INTERPRETED)


# Interpreted, each of these takes long, and every form has its own tests of the kernels.
FORMS = (
    [(True, "lengths"), (False, "padding")] if runtime.INTERPRETED else list(itertools.product((True, False), TIMINGS))
)
QUICK = [(True, "lengths"), (False, "even")]
SLOWLY = [pytest.param(*form, marks=[] if form in QUICK else pytest.mark.slow) for form in FORMS]


@slow_when_interpreted
@pytest.mark.usefixtures("_path")
@pytest.mark.parametrize(("given", "kind"), SLOWLY)
def test_pool_passes_opcheck_and_gradcheck(given: bool, kind: str) -> None:
    inputs = pool_inputs(given, kind)
    torch.library.opcheck(pool_op.expert_pool, tuple(inputs))
    places = [i for i, value in enumerate(inputs) if isinstance(value, Tensor) and value.requires_grad]

    def call(*leaves: Tensor) -> tuple[Tensor, Tensor]:
        arguments = list(inputs)
        for place, leaf in zip(places, leaves, strict=True):
            arguments[place] = leaf
        state, mass, _ = pool_op.expert_pool(*arguments)
        return state, mass

    # Interpreted, each call takes long: random directions instead of every element.
    leaves = tuple(inputs[place] for place in places)
    assert torch.autograd.gradcheck(call, leaves, fast_mode=runtime.INTERPRETED)


@slow_when_interpreted
@pytest.mark.usefixtures("_path")
@pytest.mark.parametrize(("given", "kind"), FORMS)
def test_the_backward_operator_announces_its_shapes_and_strides(given: bool, kind: str) -> None:
    inputs = pool_inputs(given, kind)
    state, mass, bits = pool_op.expert_pool(*inputs)
    grads = torch.randn_like(state), torch.randn_like(mass)
    backward = (*grads, *inputs[:-2], bits, inputs[-2])
    torch.library.opcheck(pool_op.expert_pool_backward, backward, test_utils=("test_schema", "test_faketensor"))


def test_nothing_is_kept_where_no_gradient_is_wanted() -> None:
    inputs = pool_inputs(False, "even")
    with torch.no_grad():
        state, _, bits = pool_op.expert_pool(*inputs[:-1], False)
    assert bits.numel() == 0
    assert not state.requires_grad
    state, _, _ = pool_op.expert_pool(*inputs[:-1], False)
    with pytest.raises(RuntimeError, match="save_bits=False"):
        torch.autograd.grad(state.sum(), inputs[0])


def test_gradients_of_gradients_are_refused_with_the_way_out() -> None:
    inputs = pool_inputs(False, "even")
    state, _, _ = pool_op.expert_pool(*inputs)
    (grad,) = torch.autograd.grad(state.square().sum(), inputs[0], create_graph=True)
    with pytest.raises(RuntimeError, match=r"expert_pool has no double backward.*backend='torch'"):
        torch.autograd.grad(grad.sum(), inputs[0])
    centers, stds = gaussians()
    weights = weights_op.gaussian_weights(centers, stds, None, None, None, T)
    (grad,) = torch.autograd.grad(weights.square().sum(), centers, create_graph=True)
    with pytest.raises(RuntimeError, match=r"gaussian_weights has no double backward.*backend='torch'"):
        torch.autograd.grad(grad.sum(), centers)


def bank(dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    return tuple(torch.randn(shape, dtype=dtype) for shape in ((E, H, D), (E, H), (E, D, H), (E, D)))


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [False, True])
def test_functions_compile_into_one_graph(dynamic: bool) -> None:
    layers = bank()

    def call(frames: Tensor, centers: Tensor, stds: Tensor, indices: Tensor) -> Tensor:
        weights = gaussian_weights(centers, stds, frames)
        gates = torch.full_like(centers, 1 / G)
        fused = gaussian_expert_pool(frames, gates, indices, None, *layers, centers=centers, stds=stds)
        return fused + gaussian_expert_pool(frames, gates, indices, weights, *layers)

    compiled = torch.compile(call, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for num_frames in (T, 13):
        frames, indices = torch.randn(B, num_frames, D).requires_grad_(), torch.randint(0, E, (B, G))
        centers, stds = torch.rand(B, G).requires_grad_(), torch.full((B, G), 0.1).requires_grad_()
        arguments = frames, centers, stds, indices
        got, wanted = compiled(*arguments), call(*arguments)
        torch.testing.assert_close(got, wanted)
        found, expected = (torch.autograd.grad(y.square().sum(), (frames, centers, stds)) for y in (got, wanted))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_casts_the_experts_and_keeps_the_gaussians(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor | None] = []
    real = pool_op.expert_pool

    def spy(*arguments: Any) -> Any:
        seen.extend(arguments[:7])
        return real(*arguments)

    monkeypatch.setattr(pool_op, "expert_pool", spy)
    frames, layers, indices = torch.randn(B, T, D), bank(), torch.randint(0, E, (B, G))
    centers, stds, gates = torch.rand(B, G), torch.full((B, G), 0.1), torch.full((B, G), 1 / G)
    with torch.autocast("cpu", dtype):
        got = gaussian_expert_pool(frames, gates, indices, None, *layers, centers=centers, stds=stds)
    assert [None if x is None else x.dtype for x in seen] == [
        dtype, dtype, dtype, torch.int64, None, torch.float32, torch.float32,
    ]  # fmt: skip
    narrow = [layer.to(dtype) for layer in layers]
    wanted = gaussian_expert_pool(frames.to(dtype), gates, indices, None, *narrow, centers=centers, stds=stds)
    assert got.dtype == dtype
    torch.testing.assert_close(got, wanted, rtol=0, atol=float(8 * torch.finfo(dtype).eps * wanted.abs().max()))


def test_flops_are_counted() -> None:
    inputs = pool_inputs(True, "even")
    pool_op.count_flops()
    with FlopCounterMode(display=False) as counter:
        state, _, _ = pool_op.expert_pool(*inputs)
    forward = counter.get_total_flops()
    assert forward == 2 * B * S * G * T * H * (D + 1)
    with FlopCounterMode(display=False) as counter:
        torch.autograd.grad(state.sum(), inputs[0])
    assert counter.get_total_flops() == 2 * B * S * G * T * (2 * H * D + D + H)


@slow_when_interpreted
def test_strided_inputs() -> None:
    inputs = pool_inputs(False, "padding")
    wanted = pool_op.expert_pool(*inputs)[0]
    strided = [
        torch.stack((x, torch.full_like(x, torch.nan)), dim=-1)[..., 0]
        if isinstance(x, Tensor) and x.is_floating_point()
        else x
        for x in inputs
    ]
    assert not strided[0].is_contiguous()
    torch.testing.assert_close(pool_op.expert_pool(*strided)[0], wanted)
    (got,), (grad,) = (
        torch.autograd.grad(pool_op.expert_pool(*x)[0].square().sum(), inputs[0]) for x in (strided, inputs)
    )
    torch.testing.assert_close(got, grad)
