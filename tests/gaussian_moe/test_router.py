"""The router's choices: order and ties of the gates, ranges of the Gaussians, initial values."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gaussian_moe import GaussianExpert, PatchFusion, ProgressiveRefiner, QuestionFusion, QuestionRouter, TemporalMoE
from tests.gaussian_moe.support import assert_close, stirred


def with_logits(logits: list[float], top_k: int) -> QuestionRouter:
    """A router whose logits are these, whatever it is asked."""
    router = QuestionRouter(16, len(logits), top_k, heads=4).eval()
    with torch.no_grad():
        router.gate.weight.zero_()
        router.gate.bias.copy_(torch.tensor(logits))
    return router


@pytest.mark.parametrize(
    ("logits", "top_k", "wanted"),
    [
        ([0.0] * 7, 3, [0, 1, 2]),
        ([0.0] * 40, 40, list(range(40))),
        ([1.0, 2.0, 2.0, 0.0, 2.0], 2, [1, 2]),
        ([0.0, 1.0, 0.0, 1.0, 0.0], 4, [1, 3, 0, 2]),
        ([3.0, 1.0, 2.0], 3, [0, 2, 1]),
        # Of gates that float32 rounds to 0 the larger logit still comes first.
        ([0.0, 1e4, 5e3, 9e3], 3, [1, 3, 2]),
    ],
)
def test_gates_descend_and_ties_go_to_the_lower_index(logits: list[float], top_k: int, wanted: list[int]) -> None:
    routing = with_logits(logits, top_k)(torch.randn(2, 16), torch.randn(2, 5, 16))
    assert routing.indices.tolist() == [wanted, wanted]
    chosen = torch.tensor(logits)[wanted].softmax(-1)
    assert_close(routing.gates, chosen.expand(2, -1), 1e-6)


def test_gaussians_follow_the_definition() -> None:
    router = stirred(QuestionRouter(16, 5, 3, heads=4)).double()
    question, frames = torch.randn(2, 16, dtype=torch.float64), torch.randn(2, 9, 16, dtype=torch.float64)
    routing = router(question, frames)
    context = router.attention(question.unsqueeze(1), frames).squeeze(1)
    numbers = router.gaussian(context)
    for b in range(2):
        for k, expert in enumerate(routing.indices[b].tolist()):
            a, std = numbers[b, 2 * expert].item(), 1 / (1 + math.exp(-numbers[b, 2 * expert + 1].item()))
            assert routing.centers[b, k].item() == pytest.approx((expert + 0.5) / 5 + math.tanh(a) / 10)
            assert routing.stds[b, k].item() == pytest.approx(max(std, 0.09) / 9)
    assert_close(routing.logits, router.gate(context))
    assert_close(router.anchors, torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9], dtype=torch.float64))


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_centers_stds_and_gates_stay_in_range(scale: float) -> None:
    router = stirred(QuestionRouter(16, 7, 4, heads=4))
    routing = router(scale * torch.randn(50, 16), scale * torch.randn(50, 9, 16))
    assert bool(((routing.centers >= 0) & (routing.centers <= 1)).all())
    assert bool(((routing.stds >= 0.01 * (1 - 1e-6)) & (routing.stds <= (1 + 1e-6) / 9)).all())
    assert_close(routing.gates.sum(-1), torch.ones(50), 1e-6)
    assert not (routing.gates.diff() > 0).any()


def test_one_expert_is_question_aware_gaussian_pooling() -> None:
    router, expert = stirred(QuestionRouter(16, 1, 1, heads=4)).double(), stirred(GaussianExpert(16)).double()
    question, frames = torch.randn(2, 16, dtype=torch.float64), torch.randn(2, 9, 16, dtype=torch.float64)
    routing = router(question, frames)
    assert routing.weights is not None
    layer = torch.relu(frames @ expert.weight1[0].T + expert.bias1[0]) @ expert.weight2[0].T + expert.bias2[0]
    assert_close(expert(frames, routing), (routing.weights[:, 0].unsqueeze(-1) * layer).sum(1))


def test_weights_computed_by_the_experts_are_the_routers() -> None:
    router, experts = stirred(QuestionRouter(16, 7, 3, heads=4)), stirred(GaussianExpert(16, num_experts=7))
    question, frames = torch.randn(2, 16), torch.randn(2, 9, 16)
    timing = {"times": torch.rand(2, 9).sort(-1).values, "lengths": torch.tensor([9, 4])}
    without = router(question, frames, **timing, return_weights=False)
    assert without.weights is None
    wanted = experts(frames, router(question, frames, **timing), **timing)
    assert_close(experts(frames, without, **timing), wanted, 1e-6)


LAYERS = [
    TemporalMoE(128, num_experts=5, top_k=5, hidden_dim=96),
    QuestionFusion(128, hidden_dim=96),
    PatchFusion(128, hidden_dim=96),
    ProgressiveRefiner(128, hidden_dim=96),
]


def linear_maps(module: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Weight and bias of each linear layer that is not an attention's, the experts' each by itself."""
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear) and not name.endswith("out_proj"):
            found[name] = (part.weight, part.bias)
        if isinstance(part, GaussianExpert):
            for expert in range(part.num_experts):
                found[f"{name}.{expert}.1"] = (part.weight1[expert], part.bias1[expert])
                found[f"{name}.{expert}.2"] = (part.weight2[expert], part.bias2[expert])
    return found


@pytest.mark.parametrize("again", [False, True], ids=["construction", "reset_parameters"])
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_linear_layers_start_kaiming_normal_without_bias(layer: nn.Module, again: bool) -> None:
    if again:
        stirred(layer)
        layer.reset_parameters()  # type: ignore[operator]  # every layer has it
    maps = linear_maps(layer)
    assert maps
    for name, (weight, bias) in maps.items():
        fan_in = weight.shape[1]
        # The spread of a sample's std is 1/sqrt(2n); five of those.
        assert weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=5 / math.sqrt(2 * weight.numel())), name
        assert abs(weight.mean().item()) < 5 * math.sqrt(2 / fan_in / weight.numel()), name
        # Normal, not uniform: a uniform distribution ends at 1.73 stds.
        assert weight.abs().max() > 2.2 * weight.std(), name
        assert not bias.any(), name
    for name, parameter in layer.named_parameters():
        if "norm" in name:
            assert bool((parameter == (1.0 if name.endswith("weight") else 0.0)).all()), name
