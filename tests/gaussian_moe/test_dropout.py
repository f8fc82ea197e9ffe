"""Where dropout stands: the golden numbers are taken in eval mode and cannot tell."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gaussian_moe import GaussianExpert, PatchFusion, ProgressiveRefiner, QuestionFusion, TemporalMoE
from gaussian_moe.attention import Attention
from tests.gaussian_moe.support import assert_close, stirred


class DropAll(nn.Module):
    """A dropout that leaves nothing, and keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.given.append(x)
        return torch.zeros_like(x)


def with_all_dropped(layer: nn.Module) -> DropAll:
    """Puts `DropAll` in the place of the layer's dropout."""
    dropped = DropAll()
    assert [name for name, part in layer.named_modules() if isinstance(part, nn.Dropout)] == ["dropout"]
    layer.dropout = dropped
    return dropped


def test_fusion_drops_three_branches_and_twice_in_the_feed_forward() -> None:
    layer = stirred(QuestionFusion(16, heads=4)).double()
    dropped = with_all_dropped(layer)
    audio, video, words = (torch.randn(2, length, 16, dtype=torch.float64) for length in (5, 6, 3))
    fused, _ = layer(audio, video, words)
    h = layer.norm1(audio)
    assert_close(fused, layer.norm2(h))
    wanted = [
        layer.self_attention(audio, audio),
        layer.cross_attention(audio, video),
        layer.question_attention(audio, words),
        torch.relu(layer.linear1(h)),
        layer.linear2(torch.zeros_like(h)),
    ]
    assert len(dropped.given) == 2 * len(wanted)
    for got, same in zip(dropped.given[:5], wanted, strict=True):
        assert_close(got, same)


def test_patches_drop_what_was_attended_and_nothing_of_their_own_step() -> None:
    layer = stirred(PatchFusion(16, heads=4)).double()
    dropped = with_all_dropped(layer)
    patches = torch.randn(2, 5, 4, 16, dtype=torch.float64)
    audio, video = (torch.randn(2, 5, 16, dtype=torch.float64) for _ in range(2))
    read, _ = layer(patches, audio, video)
    assert_close(read, layer.audio_norm(layer.mlp(torch.zeros_like(audio))))
    prepared = patches + layer.self_attention(patches, patches)
    (attended,) = dropped.given
    assert_close(attended, layer.cross_attention(torch.stack((audio, video), dim=-2), prepared))


def test_refiner_drops_the_mlps_result() -> None:
    layer = stirred(ProgressiveRefiner(16, heads=4)).double()
    dropped = with_all_dropped(layer)
    question, pooled = torch.randn(2, 16, dtype=torch.float64), torch.randn(2, 3, 16, dtype=torch.float64)
    assert_close(layer(question, pooled), layer.norm(pooled.mean(1)))
    (given,) = dropped.given
    assert_close(given, layer.mlp(layer.attention(question.unsqueeze(1), pooled).squeeze(1)))


def test_experts_drop_nothing_and_every_attention_has_the_rate() -> None:
    moe = TemporalMoE(16, heads=4, dropout=0.25)
    assert not [part for part in moe.modules() if isinstance(part, nn.Dropout)]
    layers = [
        moe,
        QuestionFusion(16, dropout=0.25),
        PatchFusion(16, dropout=0.25),
        ProgressiveRefiner(16, dropout=0.25),
    ]
    rates = [part.dropout for layer in layers for part in layer.modules() if isinstance(part, Attention)]
    assert rates == [0.25] * 7
    experts = stirred(GaussianExpert(16, num_experts=7)).train()
    routing = moe.eval().router(torch.randn(2, 16), torch.randn(2, 5, 16))
    frames = torch.randn(2, 5, 16)
    assert torch.equal(experts(frames, routing), experts(frames, routing))


def test_rates_are_the_papers_by_default() -> None:
    for layer in (TemporalMoE(16), QuestionFusion(16), PatchFusion(16), ProgressiveRefiner(16)):
        for part in layer.modules():
            if isinstance(part, Attention):
                assert part.dropout == 0.1
                assert part.heads == 8
            if isinstance(part, nn.Dropout):
                assert part.p == 0.1
