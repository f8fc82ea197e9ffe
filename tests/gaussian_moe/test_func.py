"""torch.func, for which layers take the torch path: vmap, and derivatives of either direction and any order.

P parameters of the layer.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile

from gaussian_moe import PatchFusion, ProgressiveRefiner, QuestionFusion, QuestionRouter, TemporalMoE
from gaussian_moe.backend import SMALL_LINEAR
from gaussian_moe.kernels.product import ONEDNN
from gaussian_moe.linear import Linear
from tests.gaussian_moe.support import assert_close, stirred

CLIPS, FRAMES, DIM = 3, 5, 8
LENGTHS = torch.tensor([FRAMES, 0, 2])
Function = Callable[..., Tensor]


def double(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.fixture(params=["absorbed", "projected", "auto"])
def case(request: pytest.FixtureRequest) -> tuple[TemporalMoE, Tensor, Tensor]:
    """A layer with a question a clip, whose attention is plain, or many, whose attention is PyTorch's own."""
    backend = "auto" if request.param == "auto" else "torch"
    moe = stirred(TemporalMoE(DIM, 4, 2, heads=2, backend=backend, dtype=torch.float64))
    question = double(CLIPS, 12, DIM) if request.param == "projected" else double(CLIPS, DIM)
    return moe, question, double(CLIPS, FRAMES, DIM)


def loss_of(moe: nn.Module) -> Function:
    def loss(parameters: dict[str, Tensor], question: Tensor, frames: Tensor) -> Tensor:
        pooled: Tensor = functional_call(moe, parameters, (question, frames), {"lengths": LENGTHS})
        return pooled.square().sum() + pooled.sum(0).prod(-1).sum()

    return loss


def test_grad(case: tuple[TemporalMoE, Tensor, Tensor]) -> None:
    moe, question, frames = case
    parameters = dict(moe.named_parameters())
    got = grad(loss_of(moe))(parameters, question, frames)
    wanted = torch.autograd.grad(loss_of(moe)(parameters, question, frames), list(parameters.values()))
    assert got.keys() == parameters.keys()
    for found, same in zip(got.values(), wanted, strict=True):
        assert_close(found, same)


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_gradients_of_each_sample(case: tuple[TemporalMoE, Tensor, Tensor]) -> None:
    moe, question, frames = case
    parameters = {name: parameter.detach() for name, parameter in moe.named_parameters()}

    def loss(parameters: dict[str, Tensor], question: Tensor, frames: Tensor) -> Tensor:
        pooled: Tensor = functional_call(moe, parameters, (question.unsqueeze(0), frames.unsqueeze(0)))
        return pooled.square().sum()

    each = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, question, frames)
    for clip in range(CLIPS):
        alone = grad(loss)(parameters, question[clip], frames[clip])
        for name, found in each.items():
            assert_close(found[clip], alone[name], what=name)


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_an_ensemble_in_one_call(case: tuple[TemporalMoE, Tensor, Tensor]) -> None:
    _, question, frames = case
    layers = [stirred(TemporalMoE(DIM, 4, 2, heads=2, backend="torch", dtype=torch.float64)) for _ in range(3)]
    parameters, buffers = torch.func.stack_module_state(layers)
    every = vmap(lambda p, b: functional_call(layers[0], (p, b), (question, frames)))(parameters, buffers)
    for member, layer in enumerate(layers):
        assert_close(every[member], layer(question, frames))


def test_jacobians(case: tuple[TemporalMoE, Tensor, Tensor]) -> None:
    moe, question, frames = case
    loss = loss_of(moe)
    parameters = {name: parameter.detach() for name, parameter in moe.named_parameters()}

    def pooled(question: Tensor) -> Tensor:
        out: Tensor = functional_call(moe, parameters, (question, frames), {"lengths": LENGTHS})
        return out.flatten()[::7]

    def of_parameters(parameters: dict[str, Tensor]) -> Tensor:
        return loss(parameters, question, frames)

    # PyTorch's fused attention has neither forward mode nor second derivatives.
    with sdpa_kernel(SDPBackend.MATH):
        backward, forward = jacrev(pooled)(question), jacfwd(pooled)(question)
        assert_close(forward, backward)
        rows = [torch.autograd.grad(pooled(leaf)[row], leaf)[0] for row, leaf in _leaves(question, len(backward))]
        assert_close(backward, torch.stack(rows))
        tangents = {name: torch.randn_like(parameter) for name, parameter in parameters.items()}
        slope = jvp(of_parameters, (parameters,), (tangents,))[1]
        gradients = grad(of_parameters)(parameters)
        assert_close(slope, torch.stack([(gradients[name] * tangents[name]).sum() for name in tangents]).sum())


def _leaves(question: Tensor, count: int) -> list[tuple[int, Tensor]]:
    return [(row, question.clone().requires_grad_()) for row in range(count)]


def test_hessian(case: tuple[TemporalMoE, Tensor, Tensor]) -> None:
    moe, question, frames = case
    parameters = {name: parameter.detach() for name, parameter in moe.named_parameters()}
    free = torch.zeros(2, dtype=torch.float64)

    def loss(free: Tensor) -> Tensor:
        """Two free numbers, one of which moves the frames, the other the Gaussians."""
        name = "router.gaussian.bias"
        return loss_of(moe)(parameters | {name: parameters[name] + free[0]}, question, frames + free[1])

    with sdpa_kernel(SDPBackend.MATH):
        found = hessian(loss)(free)
        assert_close(jacrev(jacrev(loss))(free), found)
    step = 1e-6
    for row in range(2):
        shift = step * torch.eye(2, dtype=torch.float64)[row]
        assert_close((grad(loss)(free + shift) - grad(loss)(free - shift)) / (2 * step), found[row], 1e-7)


@pytest.mark.parametrize("compiled", [False, True])
def test_forward_mode_of_a_large_linear_map(compiled: bool) -> None:
    """Whose operator would take the derivative for 0."""
    layer, x, direction = Linear(WIDE, WIDE), torch.randn(ROWS, WIDE), torch.randn(ROWS, WIDE)

    def slope(x: Tensor, direction: Tensor) -> Tensor:
        found: Tensor = jvp(layer, (x,), (direction,))[1]
        return found

    if compiled:
        slope = torch.compile(slope, fullgraph=True, backend="eager")
    wanted = direction.double() @ layer.weight.double().T
    assert_close(slope(x, direction).double(), wanted, 1e-5)
    with forward_ad.dual_level():
        out = layer(forward_ad.make_dual(x, direction))  # type: ignore[no-untyped-call]
        tangent = forward_ad.unpack_dual(out).tangent  # type: ignore[no-untyped-call]
        assert_close(tangent.double(), wanted, 1e-5)


def test_triton_says_that_it_has_no_such_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAUSSIAN_MOE_BACKEND", "triton")
    moe, frames = TemporalMoE(DIM, 4, 2, heads=2).eval(), torch.randn(1, FRAMES, DIM)
    with pytest.raises(ValueError, match="GAUSSIAN_MOE_BACKEND='triton': the operators have no rules for the transf"):
        vmap(lambda question: moe(question, frames))(torch.randn(2, 1, DIM))
    with pytest.raises(ValueError, match="the operators have no forward-mode derivative"):
        jvp(
            lambda frames: moe(torch.ones(1, DIM), frames),
            (torch.randn(1, FRAMES, DIM),),
            (torch.ones(1, FRAMES, DIM),),
        )


WIDE = 64
ROWS = SMALL_LINEAR // WIDE**2
CLIPS_OF_64 = ROWS // 64
PLAIN: list[tuple[Callable[[str], nn.Module], list[tuple[int, ...]]]] = [
    (lambda backend: TemporalMoE(WIDE, 3, 2, backend=backend), [(1, ROWS, WIDE), (1, 9, WIDE)]),
    (lambda backend: QuestionRouter(WIDE, 3, 2, backend=backend), [(1, ROWS, WIDE), (1, 9, WIDE)]),
    (lambda backend: ProgressiveRefiner(WIDE, backend=backend), [(2 * ROWS, WIDE), (2 * ROWS, 2, WIDE)]),
    (lambda backend: QuestionFusion(WIDE, backend=backend), [(CLIPS_OF_64, 64, WIDE)] * 3),
    (lambda backend: PatchFusion(WIDE, backend=backend), [(1, ROWS, 2, WIDE), (1, ROWS, WIDE), (1, ROWS, WIDE)]),
]


@pytest.mark.skipif(not ONEDNN, reason="this PyTorch has no oneDNN, so that every linear map is aten's")
@pytest.mark.parametrize(("build", "shapes"), PLAIN, ids=[build("auto").__class__.__name__ for build, _ in PLAIN])
def test_the_torch_path_is_aten_alone(build: Callable[[str], nn.Module], shapes: list[tuple[int, ...]]) -> None:
    """At sizes at which "auto" takes operators of this library."""
    inputs, called = [torch.randn(shape) for shape in shapes], {}
    for backend in ("torch", "auto"):
        layer = build(backend)
        with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as recorded:
            layer(*inputs)
        called[backend] = {event.key for event in recorded.key_averages() if event.key.startswith("gaussian_moe::")}
    assert not called["torch"]
    assert "gaussian_moe::linear" in called["auto"]
