"""Windows, normalizations, sums of windows and activations, against the definition in plain loops."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from gaussian_moe import GaussianExpert, QuestionRouter, Routing, TemporalMoE
from gaussian_moe.functional import gaussian_weights
from gaussian_moe.kernels import runtime
from tests.gaussian_moe.support import assert_close, assert_same_gradients, gradients, stirred

LOG_HEIGHTS: dict[str, Callable[[float], float]] = {
    "gaussian": lambda z: -0.5 * z * z,
    "laplace": lambda z: -math.sqrt(2) * abs(z),
    "box": lambda z: -math.log1p(math.exp((abs(z) - math.sqrt(3)) / 0.1)) if abs(z) < 9 else -(abs(z) - 3**0.5) / 0.1,
}
windows = pytest.mark.parametrize("window", list(LOG_HEIGHTS))
normalizations = pytest.mark.parametrize("normalization", ["peak", "sum", "none"])
backends = pytest.mark.parametrize("backend", ["auto", "torch"])


def heights(center: float, std: float, times: list[float], window: str, normalization: str) -> list[float]:
    """One window over the valid frames, as the definition reads."""
    found = [math.exp(LOG_HEIGHTS[window]((t - center) / std)) for t in times]
    by = {"peak": max(found, default=1.0), "sum": sum(found), "none": 1.0}[normalization]
    return [height / by for height in found]


def spread(num_frames: int) -> list[float]:
    return [i / max(num_frames - 1, 1) for i in range(num_frames)]


@windows
@normalizations
@backends
def test_weights_follow_the_definition(window: str, normalization: str, backend: str) -> None:
    centers = torch.tensor([[0.0, 0.3], [0.55, 1.0], [0.5, 0.5]], dtype=torch.float64)
    stds = torch.tensor([[0.05, 0.1], [0.11, 0.03], [0.1, 0.1]], dtype=torch.float64)
    lengths = torch.tensor([11, 7, 0])
    form: dict[str, Any] = {"window": window, "normalization": normalization, "backend": backend}
    got = gaussian_weights(centers, stds, torch.zeros(3, 11, 1, dtype=torch.float64), lengths=lengths, **form)
    for b, length in enumerate(lengths.tolist()):
        for k in range(2):
            place = centers[b, k].item(), stds[b, k].item()
            wanted = heights(*place, spread(length), window, normalization) + [0.0] * (11 - length)
            assert_close(got[b, k], torch.tensor(wanted, dtype=torch.float64), 1e-12)


@windows
def test_the_std_is_the_windows_own(window: str) -> None:
    """Sampled finely a window's standard deviation is its std; the box's soft edges widen it a little."""
    fine = torch.zeros(1, 20_001, 1, dtype=torch.float64)
    std = torch.tensor([[0.02]], dtype=torch.float64)
    weights = gaussian_weights(std * 0 + 0.5, std, fine, window=window, normalization="sum")[0, 0]
    offset = torch.linspace(-0.5, 0.5, 20_001, dtype=torch.float64)
    assert (weights * offset.square()).sum().sqrt().item() == pytest.approx(0.02, rel=0.03 if window == "box" else 1e-3)


@given(
    window=st.sampled_from(list(LOG_HEIGHTS)),
    normalization=st.sampled_from(["peak", "sum", "none"]),
    center=st.floats(0, 1),
    std=st.floats(0.01, 1 / 9),
    length=st.integers(1, 40),
)
def test_a_window_peaks_at_its_center(window: str, normalization: str, center: float, std: float, length: int) -> None:
    place = torch.tensor([[center]], dtype=torch.float64)
    frames = torch.zeros(1, length, 1, dtype=torch.float64)
    weights = gaussian_weights(place, place * 0 + std, frames, window=window, normalization=normalization)[0, 0]
    distance = (torch.tensor(spread(length), dtype=torch.float64) - center).abs()
    assert weights[distance.argmin()] == weights.max()
    # Falling on both sides: a frame that is further away never counts more.
    assert not (weights[distance.argsort()].diff() > 1e-12).any()
    assert weights.isfinite().all()
    if normalization == "peak":
        assert weights.max() == 1
    if normalization == "sum":
        assert weights.sum().item() == pytest.approx(1)


def test_a_sum_of_windows() -> None:
    centers, stds = torch.rand(2, 3, 2, dtype=torch.float64), torch.full((2, 3, 2), 0.08, dtype=torch.float64)
    shares = torch.rand(2, 3, 2, dtype=torch.float64).softmax(-1)
    frames = torch.zeros(2, 9, 1, dtype=torch.float64)
    for normalization in ("peak", "sum", "none"):
        got = gaussian_weights(centers, stds, frames, shares=shares, normalization=normalization)
        each = [gaussian_weights(centers[..., m], stds[..., m], frames, normalization=normalization) for m in range(2)]
        assert_close(got, sum(shares[..., m, None] * each[m] for m in range(2)) + torch.zeros(1))
        if normalization == "sum":
            assert_close(got.sum(-1), torch.ones(2, 3, dtype=torch.float64))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda x: x.clamp(min=0),
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
    "silu": lambda x: x / (1 + torch.exp(-x)),
}


def by_hand(moe: TemporalMoE, frames: Tensor, routing: Routing, lengths: list[int]) -> Tensor:
    """Every expert's sum over time [B, K, D], by loops."""
    experts, router = moe.experts, moe.router
    found = frames.new_zeros(*routing.gates.shape, moe.dim)
    for b, length in enumerate(lengths):
        for k, e in enumerate(routing.indices[b].tolist()):
            hidden = ACTIVATIONS[experts.activation](frames[b, :length] @ experts.weight1[e].T + experts.bias1[e])
            out = hidden @ experts.weight2[e].T + experts.bias2[e]
            centers, stds = routing.centers[b, k].reshape(-1), routing.stds[b, k].reshape(-1)
            shares = centers.new_ones(1) if routing.shares is None else routing.shares[b, k]
            for center, std, share in zip(centers.tolist(), stds.tolist(), shares.tolist(), strict=True):
                g = heights(center, std, spread(length), router.window, router.normalization)
                found[b, k] += share * (torch.tensor(g, dtype=torch.float64) @ out)
    return found


VARIANTS: list[dict[str, Any]] = [
    {},
    {"window": "laplace"},
    {"window": "box"},
    {"normalization": "sum"},
    {"normalization": "none"},
    {"num_gaussians": 3},
    {"num_gaussians": 2, "normalization": "sum"},
    {"num_gaussians": 2, "window": "laplace", "normalization": "none", "activation": "silu"},
    {"activation": "gelu"},
    {"activation": "silu"},
    {"learned_anchors": True, "num_gaussians": 2},
    {"min_std": 0.05, "max_std": 0.5},
]
variants = pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: "-".join(map(str, variant.values())))


@variants
@backends
@pytest.mark.parametrize("top_k", [2, 5])
def test_layer(variant: dict[str, Any], backend: str, top_k: int) -> None:
    moe = stirred(TemporalMoE(16, 5, top_k, heads=4, backend=backend, **variant)).double()
    question, frames = torch.randn(3, 16, dtype=torch.float64), torch.randn(3, 9, 16, dtype=torch.float64)
    lengths = torch.tensor([9, 4, 0])
    each, routing = moe(question, frames, lengths=lengths, per_expert=True, return_routing=True)
    wanted = by_hand(moe, frames, routing, lengths.tolist())
    assert_close(each, wanted)
    pooled = moe(question, frames, lengths=lengths)
    assert_close(pooled, moe.norms[0]((routing.gates.unsqueeze(-1) * wanted).sum(1)))
    # The weights that are returned are those that were used.
    kept = moe(question, frames, lengths=lengths, routing=routing)
    assert_close(kept, pooled)


@variants
def test_gradients_of_both_paths_agree(variant: dict[str, Any]) -> None:
    fused = stirred(TemporalMoE(16, 5, 3, heads=4, num_streams=2, **variant)).double()
    plain = copy.deepcopy(fused)
    plain.experts.backend = plain.router.backend = "torch"
    found = []
    question, frames, streams = torch.randn(3, 16), torch.randn(3, 9, 16), torch.randn(3, 2, 9, 16)
    for moe in (fused, plain):
        leaves = {"frames": frames.double().requires_grad_(), **dict(moe.named_parameters())}
        for per_expert in (False, True):
            got = moe(
                question.double(),
                leaves["frames"],
                streams=streams.double(),
                lengths=torch.tensor([9, 4, 0]),
                per_expert=per_expert,
            )
            found.append(gradients(got, leaves))
    assert_same_gradients(found[0], found[2])
    assert_same_gradients(found[1], found[3])
    assert all(gradient is not None and gradient.isfinite().all() for gradient in found[0].values())


UNFUSED: list[dict[str, Any]] = [{"window": "box"}, {"normalization": "none"}, {"activation": "gelu"}]


@pytest.mark.parametrize("variant", UNFUSED)
def test_what_has_no_kernel_says_so(variant: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (name, value), *_ = variant.items()
    with pytest.raises(ValueError, match=f"{name}='{value}' has no fused kernel"):
        TemporalMoE(16, heads=4, backend="triton", **variant)
    moe = TemporalMoE(16, heads=4, **variant)
    monkeypatch.setenv("GAUSSIAN_MOE_BACKEND", "triton")
    with pytest.raises(ValueError, match=f"GAUSSIAN_MOE_BACKEND='triton': {name}='{value}' has no fused kernel"):
        moe(torch.randn(2, 16), torch.randn(2, 5, 16))


@pytest.mark.skipif(runtime.INTERPRETED, reason="which operator runs is the same under the interpreter")
@pytest.mark.parametrize(
    ("variant", "fused"),
    [({"normalization": "sum"}, True), ({"num_gaussians": 2}, True), *((variant, False) for variant in UNFUSED)],
)
def test_variants_are_fused_where_they_can_be(variant: dict[str, Any], fused: bool) -> None:
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        TemporalMoE(16, heads=4, **variant)(torch.randn(2, 16), torch.randn(2, 5, 16))
    assert ("gaussian_moe::expert_pool" in {event.key for event in recorded.key_averages()}) == fused


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"window": "triangle"}, ["window", "gaussian, laplace, box", "'triangle'"]),
        ({"normalization": "max"}, ["normalization", "peak, sum, none", "'max'"]),
        ({"activation": "tanh"}, ["activation", "relu, gelu, silu", "'tanh'"]),
        ({"num_gaussians": 0}, ["num_gaussians", "at least 1", "0"]),
        ({"min_std": 0.0}, ["min_std", "above 0", "0.0"]),
        ({"max_std": math.inf}, ["max_std", "finite", "inf"]),
        ({"min_std": 0.2}, ["min_std", "max_std", "0.2"]),
        ({"temperature": 0.0}, ["temperature", "above 0", "0.0"]),
        ({"temperature": math.nan}, ["temperature", "nan"]),
        ({"noise": -1.0}, ["noise", "at least 0", "-1.0"]),
        ({"noise": float("inf")}, ["noise", "at least 0", "inf"]),
        ({"noise": float("nan")}, ["noise", "at least 0", "nan"]),
        ({"expert_dropout": 1.0}, ["expert_dropout", "[0, 1)", "1.0"]),
    ],
)
def test_wrong_variants(arguments: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(ValueError, match=parts[0]) as raised:
        TemporalMoE(16, heads=4, **arguments)
    for part in parts:
        assert part in str(raised.value)


def test_anchors_and_widths() -> None:
    router = QuestionRouter(16, 4, 4, heads=4, num_gaussians=2, learned_anchors=True, min_std=0.05, max_std=0.5)
    wanted = (torch.arange(4)[:, None] + torch.tensor([0.25, 0.75])) / 4
    assert_close(router.anchors, wanted.double())
    assert isinstance(router.anchor, torch.nn.Parameter)
    with torch.no_grad():
        router.anchor.copy_(router.anchor.flip(0))
    question, frames = 20 * torch.randn(50, 16), torch.randn(50, 9, 16)
    routing = router(question, frames)
    away = routing.centers - wanted.flip(0)[routing.indices]
    assert away.abs().max() <= 1 / 8 + 1e-6
    assert routing.stds.min() >= 0.05 * (1 - 1e-6)
    assert routing.stds.max() <= 0.5 * (1 + 1e-6)
    assert routing.weights is not None
    (grad,) = torch.autograd.grad(routing.weights.square().sum(), router.anchor)
    assert (grad != 0).any()
    router.reset_parameters()
    assert_close(router.anchors, wanted.double())
    assert "anchor" not in QuestionRouter(16, heads=4).state_dict()


def test_a_width_may_be_fixed() -> None:
    router = QuestionRouter(16, 4, 4, heads=4, min_std=0.2, max_std=0.2)
    stds = router(torch.randn(2, 16), torch.randn(2, 9, 16)).stds
    assert_close(stds, torch.full_like(stds, 0.2), 1e-6)


def test_centers_stay_in_the_clip_wherever_anchors_are_learned() -> None:
    router = QuestionRouter(16, 4, 4, heads=4, learned_anchors=True)
    assert isinstance(router.anchor, torch.nn.Parameter)
    for anchor, center in ((5.0, 1.0), (-5.0, 0.0)):
        with torch.no_grad():
            router.anchor.fill_(anchor)
        assert bool((router(torch.randn(2, 16), torch.randn(2, 9, 16)).centers == center).all())


def test_what_differs_from_the_default_is_shown() -> None:
    shown = repr(TemporalMoE(16, heads=4, window="box", temperature=2.0, activation="silu"))
    assert "window='box'" in shown
    assert "temperature=2.0" in shown
    assert "activation='silu'" in shown
    assert "noise" not in shown + repr(TemporalMoE(16, heads=4))


def test_gelu_is_pytorchs() -> None:
    expert, x = stirred(GaussianExpert(16, activation="gelu")), torch.randn(1, 1, 16)
    one = torch.ones(1, 1)
    routing = Routing(one, torch.zeros(1, 1, dtype=torch.int64), one, one, one, one.unsqueeze(-1))
    hidden = F.gelu(x[0] @ expert.weight1[0].T + expert.bias1[0])
    assert_close(expert(x, routing), hidden @ expert.weight2[0].T + expert.bias2[0], 1e-6)
