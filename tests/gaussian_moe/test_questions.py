"""Q questions about one clip equal Q calls with one question each."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gaussian_moe import PatchFusion, ProgressiveRefiner, QuestionFusion, QuestionRouter, Routing
from tests.gaussian_moe.support import assert_close, assert_same_gradients, gradients, small_moe, stirred, tensors

sizes = given(clips=st.integers(0, 3), questions=st.integers(1, 4), frames=st.integers(0, 7), seed=st.integers(0, 99))


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def lengths_of(clips: int, frames: int, seed: int) -> Tensor:
    return torch.randint(0, frames + 1, (clips,), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("top_k", [1, 3, 7])
@pytest.mark.parametrize("num_streams", [0, 2])
@sizes
def test_mixture(top_k: int, num_streams: int, clips: int, questions: int, frames: int, seed: int) -> None:
    moe = small_moe(top_k=top_k, num_streams=num_streams).double()
    asked, sequence = random(clips, questions, 16), random(clips, frames, 16)
    streams = random(clips, num_streams, frames, 16) if num_streams else None
    lengths = lengths_of(clips, frames, seed)
    got = moe(asked, sequence, streams=streams, lengths=lengths)
    alone = [moe(asked[:, q], sequence, streams=streams, lengths=lengths) for q in range(questions)]
    assert_close(got, torch.stack(alone, dim=1))


@sizes
def test_router(clips: int, questions: int, frames: int, seed: int) -> None:
    router = stirred(QuestionRouter(16, 7, 3, heads=4)).double()
    asked, sequence = random(clips, questions, 16), random(clips, frames, 16)
    lengths, times = lengths_of(clips, frames, seed), random(clips, frames).sort(-1).values
    got = router(asked, sequence, lengths=lengths, times=times, duration=9.0)
    assert isinstance(got, Routing)
    for q in range(questions):
        alone = router(asked[:, q], sequence, lengths=lengths, times=times, duration=9.0)
        for field, wanted in zip(tensors(got), tensors(alone), strict=True):
            assert_close(field[:, q], wanted)


@given(clips=st.integers(0, 3), questions=st.integers(1, 4), features=st.integers(1, 4))
def test_refiner(clips: int, questions: int, features: int) -> None:
    refiner = stirred(ProgressiveRefiner(16, heads=4)).double()
    asked, pooled = random(clips, questions, 16), random(clips, questions, features, 16)
    alone = [refiner(asked[:, q], pooled[:, q]) for q in range(questions)]
    assert_close(refiner(asked, pooled), torch.stack(alone, dim=1))


@given(clips=st.integers(0, 3), questions=st.integers(1, 4), frames=st.integers(0, 7), heads=st.sampled_from([2, 8]))
def test_fusion_with_masks(clips: int, questions: int, frames: int, heads: int) -> None:
    """With 8 heads two frames are enough for the projected attention to the words, with 2 heads it takes five."""
    fusion = stirred(QuestionFusion(16, heads=heads)).double()
    audio, video, words = random(clips, frames, 16), random(clips, 5, 16), random(clips, questions, 6, 16)
    masks = {
        "audio_padding_mask": torch.rand(clips, frames) < 0.4,
        "video_padding_mask": torch.rand(clips, 5) < 0.4,
    }
    words_mask = torch.rand(clips, questions, 6) < 0.4
    got = fusion(audio, video, words, **masks, words_padding_mask=words_mask)
    for q in range(questions):
        alone = fusion(audio, video, words[:, q], **masks, words_padding_mask=words_mask[:, q])
        for fused, wanted in zip(got, alone, strict=True):
            assert_close(fused[:, q], wanted)


@given(clips=st.integers(0, 3), questions=st.integers(1, 4), frames=st.integers(0, 4), heads=st.sampled_from([2, 8]))
def test_patches(clips: int, questions: int, frames: int, heads: int) -> None:
    layer = stirred(PatchFusion(16, heads=heads)).double()
    patches = random(clips, frames, 5, 16)
    audio, video = random(clips, questions, frames, 16), random(clips, questions, frames, 16)
    got = layer(patches, audio, video)
    for q in range(questions):
        for read, wanted in zip(got, layer(patches, audio[:, q], video[:, q]), strict=True):
            assert_close(read[:, q], wanted)


@pytest.mark.parametrize("top_k", [1, 7])
def test_gradients_of_questions_add_up(top_k: int) -> None:
    moe = small_moe(top_k=top_k).double()
    asked = random(2, 3, 16)
    leaves = {"frames": random(2, 9, 16).requires_grad_(), **dict(moe.named_parameters())}
    together = moe(asked, leaves["frames"])
    alone = torch.stack([moe(asked[:, q], leaves["frames"]) for q in range(3)], dim=1)
    assert_same_gradients(gradients(together, leaves), gradients(alone, leaves))
