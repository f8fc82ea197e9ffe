"""The Triton kernels of expert pooling, backward, against autograd of the formula in float64: every gradient.

They run on a CUDA device, or with TRITON_INTERPRET=1 on a CPU.

B batch, S streams, G routed experts of one clip, T frames, D channels, H hidden, E experts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="Triton is not installed: it is there on Linux only")

from gaussian_moe.kernels.expert_pool import configs, launch
from tests.kernels.pool_cases import (
    DEVICE,
    EXACT,
    FORMS,
    INTERPRETED,
    NEEDS,
    Case,
    all_strided,
    assert_near,
    case,
    formula,
    poison_empty,
    strided,
)

pytestmark = NEEDS
# Its arguments are passed as one row, which type checkers do not follow through two of them.
pool_backward: Callable[..., Any] = launch.pool_backward
TARGETS = ["sm_75", "sm_80", "sm_90", "sm_100", "gfx942"]
NAMES = ("frames", "weight1", "bias1", "weights", "centers", "stds")
# One frame; a frame short of four blocks; every expert in use; one expert; fewer units and channels than any block has;
# a word of bits and a block exactly full.
SIZES = [{"T": 1}, {"T": 63}, {"G": 3, "E": 3}, {"E": 1, "G": 1}, {"H": 4, "D": 5}, {"H": 32, "D": 16, "T": 16}]


@pytest.fixture(autouse=True)
def _on_the_device() -> Iterator[None]:
    with torch.device(DEVICE):
        yield


@pytest.fixture(autouse=True)
def _poison(monkeypatch: pytest.MonkeyPatch) -> None:
    poison_empty(monkeypatch)


def upstream(given: Case) -> tuple[Tensor, Tensor]:
    """Gradients that arrive: of the state in the frames' dtype, of the mass wide."""
    B, S, _, _ = given.frames.shape
    G, H = given.indices.shape[1], given.weight1.shape[1]
    wide = torch.promote_types(given.frames.dtype, torch.float32)
    return torch.randn(B, S, G, H).to(given.frames.dtype), torch.randn(B, G).to(wide)


def backward(given: Case, grads: tuple[Tensor, Tensor], epsilon: float = 0.0) -> dict[str, Tensor]:
    """The kernels' gradients by name, after their forward pass."""
    bits = launch.pool_forward(*given, epsilon, True)[2]
    found = pool_backward(*grads, *given, bits, epsilon)
    return {name: gradient for name, gradient in zip(NAMES, found, strict=True) if gradient is not None}


def check(given: Case, epsilon: float = 0.0) -> None:
    """Every gradient is autograd's; what belongs to padding is 0."""
    grads = upstream(given)
    got, wanted = backward(given, grads, epsilon), formula(given).gradients(*grads)
    assert got.keys() == wanted.keys()
    for name, gradient in got.items():
        source = getattr(given, name)
        assert (gradient.shape, gradient.dtype) == (source.shape, source.dtype)
        assert_near(gradient, wanted[name])
    assert not got["frames"].masked_fill(~given.mask[:, None, :, None], 0.0).any()


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_autograds(form: str, given: bool) -> None:
    check(case(form, given))


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_any_size(sizes: dict[str, int]) -> None:
    check(case("even", False, **{"B": 1, **sizes}))


@pytest.mark.parametrize("given", [pytest.param(False, marks=pytest.mark.slow), True])
def test_other_sizes_and_strides_are_laid_out(given: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configs, "granule", lambda _: 16)
    check(case("lengths", given, S=2))
    check(all_strided(case("lengths", given, D=16, H=32)))


def test_streams_add_to_the_weights_gradient() -> None:
    check(case("lengths", True, S=3, D=5, H=4))


@pytest.mark.parametrize("splits", [3, pytest.param(5, marks=pytest.mark.slow)])
def test_experts_work_cut_in_splits_and_windows_in_chunks(splits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that the splits do not divide; of five splits some have nothing."""
    monkeypatch.setattr(configs, "shares", lambda *_: splits)
    check(case("times-padding", False, B=2, S=2, G=1, T=40, D=5, H=4, E=1))
    check(case("lengths", True, B=3, G=2, T=20, D=5, H=4, E=3))


def test_splits_take_no_more_memory_than_some_banks(monkeypatch: pytest.MonkeyPatch) -> None:
    parts: dict[torch.Size, int] = {}
    added = launch._added

    def counted(part: Tensor, dtype: torch.dtype) -> Tensor:
        parts[part.shape[1:]] = len(part)
        return added(part, dtype)

    monkeypatch.setattr(configs, "shares", lambda *_: 17)
    monkeypatch.setattr(launch, "_added", counted)
    given = case("even", True, B=1, G=1, T=3, D=16, H=16, E=1)
    backward(given, upstream(given))
    assert parts[given.weight1.shape] == 16


def test_an_expert_not_in_use_gets_no_gradient() -> None:
    given = case("even", False, T=5, H=4, E=5)
    given.indices.copy_(torch.tensor([[1, 3], [3, 3]]))
    found = backward(given, upstream(given))
    for name in ("weight1", "bias1"):
        assert found[name].flatten(1).any(-1).tolist() == [False, True, False, True, False]


@pytest.mark.parametrize(("pairs", "num_experts"), [(50, 3), (16, 1), (3, 7)])
def test_routes_are_a_stable_sort(pairs: int, num_experts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "ROUTE_BLOCK", 16)
    indices = torch.randint(0, num_experts, (pairs, 1))
    order, starts, masks = launch._route(indices, num_experts)
    assert torch.equal(order.long(), indices.flatten().argsort(stable=True))
    counts = indices.flatten().bincount(minlength=num_experts)
    assert starts.tolist() == [0, *counts.cumsum(0).tolist()]
    assert (masks.long() & 0xFFFFFFFF).tolist() == [1 << j for j in range(32)]


def test_a_weight_of_zero_has_a_gradient() -> None:
    given = case("lengths", True, T=7, D=5, H=4)
    assert given.weights is not None
    given.weights[:, :, ::2] = 0.0
    check(given)
    assert backward(given, upstream(given))["weights"][0, :, :4].all()


def test_frames_out_of_reach_add_nothing() -> None:
    given = case("even", False, B=1, G=2, T=100, D=5, H=4)
    assert given.stds is not None
    given.stds.copy_(torch.tensor([[0.02, 0.03]]))
    assert given.centers is not None
    given.centers.copy_(torch.tensor([[0.2, 0.7]]))
    grads, epsilon = upstream(given), 1e-8
    exact, got = backward(given, grads), backward(given, grads, epsilon)
    for name, gradient in got.items():
        # A gradient of centers and stds is a sum of 100 weights times up to time / std^3.
        slope = 1e5 if name in ("centers", "stds") else 1.0
        assert (gradient - exact[name]).abs().amax() <= 2e3 * epsilon * slope
    # The windows cover frames 8 to 32 and 51 to 88, about.
    given.frames[:, :, :5] = given.frames[:, :, 38:46] = given.frames[:, :, 95:] = torch.nan
    skipped = backward(given, grads, epsilon)
    assert all(torch.equal(skipped[name], gradient) for name, gradient in got.items())
    assert not got["frames"][:, :, 38:46].any()


def test_clips_do_not_see_each_other() -> None:
    """A gradient gone NaN stays in its clip, but for the experts' own, which are sums over clips."""
    given = case("even", False, T=5, D=5, H=4)
    grad_state, grad_mass = upstream(given)
    grad_state[0] = torch.nan
    found = backward(given, (grad_state, grad_mass))
    for name in ("frames", "centers", "stds"):
        assert bool(found[name][0].isnan().any())
        assert not found[name][1].isnan().any()


@pytest.mark.parametrize(("B", "G", "T"), [(0, 2, 5), (2, 0, 5), (2, 2, 0)])
@pytest.mark.parametrize("given", [False, True])
def test_nothing_there(B: int, G: int, T: int, given: bool) -> None:
    one = case("even", given, B=B, G=G, T=T, H=4)
    for name, gradient in backward(one, upstream(one)).items():
        assert gradient.shape == getattr(one, name).shape
        assert not gradient.any()


@pytest.mark.parametrize("given", [pytest.param(False, marks=pytest.mark.slow), True])
def test_any_layout_of_the_arguments(given: bool) -> None:
    one = case("times-padding", given, T=7, H=4)
    assert one.padding is not None
    grads = upstream(one)
    spread = {
        name: strided(value) for name, value in one._asdict().items() if value is not None and value.is_floating_point()
    }
    indices = torch.stack([one.indices, one.indices], -1)[..., 0]
    other = one._replace(**spread, padding=one.padding.t().contiguous().t(), indices=indices)
    wanted = backward(one, grads)
    for name, gradient in backward(other, (strided(grads[0]), strided(grads[1]))).items():
        assert torch.equal(gradient, wanted[name])
    flat = torch.ones((), dtype=EXACT).expand(2, 1, 2, 4), torch.ones((), dtype=EXACT).expand(2, 2)
    summed = formula(one).gradients(*flat)
    for name, gradient in backward(one, flat).items():
        assert_near(gradient, summed[name])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_low_precision_is_as_good_as_plain_torch(dtype: torch.dtype) -> None:
    narrow = case("lengths", False, B=3, T=24, D=33, H=32).to(dtype)
    grads = upstream(narrow)
    exact = formula(narrow).gradients(*(grad.double() for grad in grads))
    plain = formula(narrow, dtype).gradients(*grads)
    for name, gradient in backward(narrow, grads).items():
        # Of a float32 gradient's few elements the worst is chance; all together are not.
        error = torch.linalg.vector_norm(gradient.double() - exact[name])
        plain_error = torch.linalg.vector_norm(plain[name].double() - exact[name])
        # Nor can a result be nearer than its dtype's own rounding, which plain torch's now and then is by luck.
        rounding = torch.finfo(dtype).eps * torch.linalg.vector_norm(exact[name])
        assert error <= 2 * torch.maximum(plain_error, rounding), name


@pytest.mark.skipif(not INTERPRETED, reason="a device takes its own blocks only")
@pytest.mark.parametrize("target", TARGETS)
def test_the_blocks_of_every_target(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configs, "target", lambda _: target)
    largest = configs.experts(target, "half")
    narrow = case("lengths", False, B=1, G=1, T=130, D=largest.block_d + 1, H=5, E=1).to(torch.float32)
    grads = upstream(narrow)
    exact = formula(narrow).gradients(*(grad.double() for grad in grads))
    for dtype in (torch.float32, torch.float16):
        found = backward(narrow.to(dtype), (grads[0].to(dtype), grads[1]))
        for name, gradient in found.items():
            # float16 rounds its inputs too.
            error = (gradient.double() - exact[name]).abs().amax()
            assert error <= 30 * torch.finfo(dtype).eps * exact[name].abs().amax(), name


def test_the_same_bits_every_time() -> None:
    given = case("lengths", False, B=3, D=5, H=4)
    grads = upstream(given)
    one, other = backward(given, grads), backward(given, grads)
    assert all(torch.equal(gradient, other[name]) for name, gradient in one.items())


@pytest.mark.gpu
@pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("given", [False, True])
def test_captured_in_a_cuda_graph(given: bool) -> None:
    """Nothing waits for the device or reads a value of it: the graph gives other results for other inputs."""
    one = case("lengths", given, B=3, T=300, D=64, H=64)
    grads = upstream(one)
    backward(one, grads)  # Compiles.
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = backward(one, grads)
    one.frames.copy_(torch.randn_like(one.frames))
    one.indices.copy_((one.indices + 1) % 3)
    graph.replay()
    for name, gradient in backward(one, grads).items():
        assert torch.equal(gradient, captured[name])
