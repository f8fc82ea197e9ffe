"""Odd sizes in three dtypes: finite outputs and gradients, each size with its reason."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gaussian_moe import PatchFusion, ProgressiveRefiner, QuestionFusion, TemporalMoE
from tests.gaussian_moe.support import small_moe, stirred

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))


def assert_finite(module: nn.Module, outputs: list[Tensor], leaves: list[Tensor]) -> None:
    """Outputs and the gradients of leaves and parameters hold neither NaN nor infinity."""
    torch.autograd.backward([out.float().square().sum() for out in outputs])
    for out in outputs:
        assert out.isfinite().all()
    for leaf in leaves:
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
    for name, parameter in module.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


def leaf(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape).to(dtype).requires_grad_()


CLIPS = {
    "one frame, whose time is 0/0": (2, 1),
    "no frames": (2, 0),
    "an empty batch": (0, 9),
    "an empty batch of no frames": (0, 0),
    "one short of a power of two": (2, 63),
}
EXPERTS = {"E = 1": (1, 1), "K = 1": (7, 1), "K = E": (7, 7), "routed, few": (7, 3), "routed, most": (7, 4)}


@dtypes
@pytest.mark.parametrize(("num_experts", "top_k"), EXPERTS.values(), ids=EXPERTS.keys())
@pytest.mark.parametrize(("clips", "num_frames"), CLIPS.values(), ids=CLIPS.keys())
def test_odd_sizes(clips: int, num_frames: int, num_experts: int, top_k: int, dtype: torch.dtype) -> None:
    moe = small_moe(num_experts, top_k).to(dtype)
    question, frames = leaf(clips, 16, dtype=dtype), leaf(clips, num_frames, 16, dtype=dtype)
    pooled, routing = moe(question, frames, return_routing=True)
    assert pooled.shape == (clips, 16)
    assert pooled.dtype == dtype
    assert routing.weights is not None
    assert routing.weights.shape == (clips, top_k, num_frames)
    assert_finite(moe, [pooled], [question, frames])


@pytest.mark.parametrize("top_k", [3, 7])
def test_no_questions_about_a_clip(top_k: int) -> None:
    moe = small_moe(top_k=top_k)
    assert moe(torch.randn(2, 0, 16), torch.randn(2, 9, 16)).shape == (2, 0, 16)


@dtypes
@pytest.mark.parametrize("num_streams", [0, 2])
def test_clips_of_every_length_in_one_batch(dtype: torch.dtype, num_streams: int) -> None:
    moe = small_moe(num_streams=num_streams).to(dtype)
    question, frames = leaf(4, 16, dtype=dtype), leaf(4, 6, 16, dtype=dtype)
    streams = [leaf(4, 6, 16, dtype=dtype) for _ in range(num_streams)]
    pooled = moe(question, frames, streams=streams or None, lengths=torch.tensor([6, 1, 0, 3]))
    nothing = pooled[2] if num_streams else pooled[2].unsqueeze(0)
    for norm, result in zip(moe.norms, nothing, strict=True):
        assert torch.equal(result, norm(torch.zeros(16, dtype=dtype)))
    assert_finite(moe, [pooled], [question, frames, *streams])


def forced(center: float, std: float, num_experts: int = 1) -> TemporalMoE:
    """A mixture whose Gaussians are put at one end of their range by the bias alone: a and b far beyond saturation."""
    moe = small_moe(num_experts, num_experts)
    gaussian = moe.router.gaussian
    with torch.no_grad():
        gaussian.weight.zero_()
        gaussian.bias[0::2] = center
        gaussian.bias[1::2] = std
    return moe


@dtypes
@pytest.mark.parametrize(("bias", "place"), [(-50.0, 0.0), (50.0, 1.0)])
@pytest.mark.parametrize("std", [-50.0, 50.0])
def test_centers_at_both_ends(bias: float, place: float, std: float, dtype: torch.dtype) -> None:
    moe = forced(bias, std).to(dtype)
    question, frames = leaf(2, 16, dtype=dtype), leaf(2, 4, 16, dtype=dtype)
    pooled, routing = moe(question, frames, return_routing=True)
    assert routing.centers.dtype == torch.float32
    assert torch.equal(routing.centers, torch.full((2, 1), place))
    assert routing.stds[0, 0].item() == pytest.approx(0.01 if std < 0 else 1 / 9, rel=1e-6)
    assert_finite(moe, [pooled], [question, frames])


@dtypes
@pytest.mark.parametrize("num_experts", [1, 2, 3, 7])
def test_narrowest_gaussian_between_the_frames_of_a_coarse_grid(num_experts: int, dtype: torch.dtype) -> None:
    """Four frames stand 33 stds apart: the published density is 0/0 here, halfway between two of them."""
    moe = forced(0.0, -50.0, num_experts).to(dtype)
    question, frames = leaf(2, 16, dtype=dtype), leaf(2, 4, 16, dtype=dtype)
    pooled, routing = moe(question, frames, return_routing=True)
    assert routing.weights is not None
    assert torch.equal(routing.weights.amax(-1), torch.ones(2, num_experts))
    assert_finite(moe, [pooled], [question, frames])


@dtypes
@pytest.mark.parametrize(
    ("audio_frames", "video_frames", "words"), [(0, 5, 3), (5, 0, 3), (5, 5, 0), (40, 40, 0), (40, 0, 3), (1, 1, 1)]
)
def test_fusion_with_an_empty_sequence(audio_frames: int, video_frames: int, words: int, dtype: torch.dtype) -> None:
    layer = stirred(QuestionFusion(16, heads=4)).to(dtype)
    leaves = [leaf(2, length, 16, dtype=dtype) for length in (audio_frames, video_frames, words)]
    audio, video = layer(*leaves)
    assert audio.shape == (2, audio_frames, 16)
    assert video.shape == (2, video_frames, 16)
    assert_finite(layer, [audio, video], leaves)


@dtypes
def test_fusion_with_everything_masked(dtype: torch.dtype) -> None:
    layer = stirred(QuestionFusion(16, heads=4)).to(dtype)
    leaves = [leaf(2, length, 16, dtype=dtype) for length in (40, 6, 3)]
    masks = [torch.tensor([[True], [False]]).expand(2, length) for length in (40, 6, 3)]
    outputs = layer(*leaves, audio_padding_mask=masks[0], video_padding_mask=masks[1], words_padding_mask=masks[2])
    assert_finite(layer, list(outputs), leaves)


@dtypes
@pytest.mark.parametrize(("clips", "frames", "patches"), [(2, 5, 0), (2, 5, 1), (2, 0, 4), (0, 5, 4), (2, 1, 14)])
def test_patches_of_odd_sizes(clips: int, frames: int, patches: int, dtype: torch.dtype) -> None:
    layer = stirred(PatchFusion(16, heads=4)).to(dtype)
    leaves = [leaf(clips, frames, patches, 16, dtype=dtype), *(leaf(clips, frames, 16, dtype=dtype) for _ in range(2))]
    outputs = layer(*leaves)
    assert outputs[0].shape == outputs[1].shape == (clips, frames, 16)
    assert_finite(layer, list(outputs), leaves)


@dtypes
@pytest.mark.parametrize("clips", [0, 2])
@pytest.mark.parametrize("features", [1, 3])
def test_refiner_of_odd_sizes(clips: int, features: int, dtype: torch.dtype) -> None:
    layer = stirred(ProgressiveRefiner(16, heads=4)).to(dtype)
    leaves = [leaf(clips, 16, dtype=dtype), leaf(clips, features, 16, dtype=dtype)]
    assert_finite(layer, [layer(*leaves)], leaves)
