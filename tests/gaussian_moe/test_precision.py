"""Low precision: centers and stds stay float32, anchors stay exact, errors stay those of the dtype."""

from __future__ import annotations

import pytest
import torch

from gaussian_moe import PatchFusion, ProgressiveRefiner, QuestionFusion
from tests.gaussian_moe.support import small_moe, stirred

LOW = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])


@LOW
def test_a_module_in_low_precision_keeps_times_in_float32(dtype: torch.dtype) -> None:
    moe = small_moe(num_experts=7, top_k=7)
    exact = moe.router.anchors
    moe = moe.to(dtype)
    assert torch.equal(moe.router.anchors, exact)
    assert moe.router.gate.weight.dtype == dtype
    with torch.no_grad():
        moe.router.gaussian.weight.zero_()
        moe.router.gaussian.bias.zero_()
    pooled, routing = moe(torch.randn(2, 16).to(dtype), torch.randn(2, 9, 16).to(dtype), return_routing=True)
    assert pooled.dtype == dtype
    assert routing.centers.dtype == routing.stds.dtype == torch.float32
    assert routing.weights is not None
    assert routing.weights.dtype == torch.float32
    # With a = 0 a center is its expert's anchor; (e + 1/2)/7 in the low dtype would be off by 1e-4 and more.
    torch.testing.assert_close(routing.centers.double(), exact[routing.indices], rtol=0, atol=1e-7)


def test_half_and_bfloat16_leave_the_anchors() -> None:
    for moe in (small_moe().half(), small_moe().bfloat16(), small_moe().half().float()):
        wanted = (torch.arange(7, dtype=torch.float64) + 0.5) / 7
        assert torch.equal(moe.router.anchors, wanted)


@LOW
def test_autocast(dtype: torch.dtype) -> None:
    moe = small_moe()
    question, frames = torch.randn(4, 16), torch.randn(4, 9, 16)
    wanted = moe(question, frames)
    with torch.autocast("cpu", dtype=dtype):
        pooled, routing = moe(question, frames, return_routing=True)
        assert moe.router.attention(question.unsqueeze(1), frames).dtype == dtype
        mixed = moe(question.to(dtype), frames, lengths=torch.tensor([9, 3, 0, 1]))
    assert routing.centers.dtype == routing.stds.dtype == torch.float32
    assert routing.weights is not None
    assert routing.weights.dtype == torch.float32
    assert mixed.isfinite().all()
    pooled.float().sum().backward()
    for parameter in moe.parameters():
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()
    # The gates differ by the rounding of their logits; the pooled vector is of scale 1 after its norm.
    assert (pooled.float() - wanted).abs().max() < 32 * torch.finfo(dtype).eps


@LOW
@pytest.mark.parametrize("num_frames", [2, 9], ids=["absorbed words", "projected words"])
def test_other_layers_under_autocast(dtype: torch.dtype, num_frames: int) -> None:
    fusion, patch_fusion = stirred(QuestionFusion(16, heads=4)), stirred(PatchFusion(16, heads=4))
    refiner = stirred(ProgressiveRefiner(16, heads=4))
    audio, video = torch.randn(2, num_frames, 16), torch.randn(2, num_frames, 16)
    words, patches, mask = torch.randn(2, 5, 16), torch.randn(2, num_frames, 4, 16), torch.zeros(2, 5, dtype=torch.bool)
    with torch.autocast("cpu", dtype=dtype):
        low = (
            *fusion(audio, video, words, words_padding_mask=mask),
            *patch_fusion(patches, audio, video),
            refiner(audio[:, 0], words),
        )
    high = (*fusion(audio, video, words), *patch_fusion(patches, audio, video), refiner(audio[:, 0], words))
    for got, wanted in zip(low, high, strict=True):
        assert (got.float() - wanted).abs().max() < 32 * torch.finfo(dtype).eps
