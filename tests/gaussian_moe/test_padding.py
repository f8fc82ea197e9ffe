"""A padded clip is the unpadded one, whatever its padding holds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gaussian_moe import GaussianExpert, QuestionFusion, QuestionRouter
from tests.gaussian_moe.support import assert_close, assert_same_gradients, gradients, small_moe, stirred, tensors

GARBAGE = [float("nan"), float("inf"), float("-inf"), 1e30]
garbage = pytest.mark.parametrize("value", GARBAGE)
LENGTHS = torch.tensor([6, 1, 0, 4])


def mask_of(lengths: Tensor, num_frames: int) -> Tensor:
    return torch.arange(num_frames) >= lengths.unsqueeze(-1)


def spoilt(sequence: Tensor, lengths: Tensor, value: float) -> Tensor:
    """The sequence [B, T] or [B, T, D] with its padding set to the value."""
    mask = mask_of(lengths, sequence.shape[1])
    return sequence.masked_fill(mask if sequence.dim() == 2 else mask.unsqueeze(-1), value)


@given(
    length=st.integers(0, 12),
    padding=st.integers(0, 5),
    top_k=st.sampled_from([2, 7]),
    num_streams=st.sampled_from([0, 2]),
    timed=st.booleans(),
)
def test_padded_clip_is_the_unpadded_one(length: int, padding: int, top_k: int, num_streams: int, timed: bool) -> None:
    moe = small_moe(top_k=top_k, num_streams=num_streams).double()
    question = torch.randn(1, 16, dtype=torch.float64)
    frames = torch.randn(1, length + padding, 16, dtype=torch.float64)
    streams = torch.randn(1, num_streams, length + padding, 16, dtype=torch.float64) if num_streams else None
    times = torch.rand(1, length + padding, dtype=torch.float64).sort().values * 30 if timed else None
    wanted, wanted_routing = moe(
        question,
        frames[:, :length],
        streams=None if streams is None else streams[:, :, :length],
        times=None if times is None else times[:, :length],
        return_routing=True,
    )
    lengths = torch.tensor([length])
    for given_as in ({"lengths": lengths}, {"key_padding_mask": mask_of(lengths, length + padding)}):
        pooled, routing = moe(question, frames, streams=streams, times=times, return_routing=True, **given_as)
        assert_close(pooled, wanted)
        for got, same in zip(tensors(routing)[:-1], tensors(wanted_routing)[:-1], strict=True):
            assert_close(got, same)
        assert routing.weights is not None
        assert wanted_routing.weights is not None
        assert_close(routing.weights[..., :length], wanted_routing.weights)
        assert not routing.weights[..., length:].any()


def test_frames_may_be_missing_anywhere() -> None:
    """A mask that is no suffix: the valid frames, in their order, are the clip."""
    moe = small_moe().double()
    question, frames = torch.randn(1, 16, dtype=torch.float64), torch.randn(1, 8, 16, dtype=torch.float64)
    mask = torch.tensor([[True, False, False, True, False, True, False, True]])
    assert_close(moe(question, frames, key_padding_mask=mask), moe(question, frames[:, ~mask[0]]))


@garbage
@pytest.mark.parametrize("num_streams", [0, 2])
def test_what_padding_holds_changes_nothing(value: float, num_streams: int) -> None:
    moe = small_moe(num_streams=num_streams)
    question, frames, times = torch.randn(4, 16), torch.randn(4, 6, 16), torch.rand(4, 6).sort(-1).values
    streams = [torch.randn(4, 6, 16) for _ in range(num_streams)]
    found = []
    for spoil in (False, True):
        held, timed, *added = (
            spoilt(tensor, LENGTHS, value) if spoil else tensor.clone() for tensor in (frames, times, *streams)
        )
        leaves = {"question": question.clone().requires_grad_(), "frames": held.requires_grad_()}
        pooled = moe(**leaves, streams=added or None, lengths=LENGTHS, times=timed)
        found.append((pooled, gradients(pooled, {**leaves, **dict(moe.named_parameters())})))
    assert torch.equal(found[0][0], found[1][0])
    assert_same_gradients(found[0][1], found[1][1], atol=0.0)
    d_frames = found[1][1]["frames"]
    assert d_frames is not None
    assert not d_frames[mask_of(LENGTHS, 6)].any()


@garbage
def test_router_and_experts_alone_do_not_read_padding(value: float) -> None:
    router = stirred(QuestionRouter(16, 7, 3, heads=4)).double()
    experts = stirred(GaussianExpert(16, num_experts=7)).double()
    question, frames = torch.randn(4, 16, dtype=torch.float64), torch.randn(4, 6, 16, dtype=torch.float64)
    bad = spoilt(frames, LENGTHS, value)
    routing = router(question, frames, lengths=LENGTHS)
    for got, wanted in zip(tensors(router(question, bad, lengths=LENGTHS)), tensors(routing), strict=True):
        assert torch.equal(got, wanted)
    for given_routing in (routing, routing._replace(weights=None)):
        pooled = experts(bad, given_routing, lengths=LENGTHS)
        assert_close(pooled, experts(frames, routing))


def test_padding_counts_for_nothing_under_a_routing_that_did_not_know_it() -> None:
    moe = small_moe()
    question, frames = torch.randn(4, 16), torch.randn(4, 6, 16)
    everywhere = moe.router(question, frames)._replace(weights=torch.ones(4, 3, 6))
    pooled = moe(question, frames, lengths=LENGTHS, routing=everywhere)
    for clip, length in enumerate(LENGTHS.tolist()):
        alone = [field[clip : clip + 1] for field in tensors(everywhere)]
        alone[-1] = alone[-1][..., :length]
        wanted = moe(question[clip : clip + 1], frames[clip : clip + 1, :length], routing=type(everywhere)(*alone))
        assert_close(pooled[clip : clip + 1], wanted, 1e-5)


@garbage
@pytest.mark.parametrize("asked", [(), (3,)], ids=["one question", "three questions"])
@pytest.mark.parametrize("num_frames", [2, 6], ids=["absorbed words", "projected words"])
def test_fusion_does_not_read_padding(value: float, asked: tuple[int, ...], num_frames: int) -> None:
    layer = stirred(QuestionFusion(16, heads=4)).double()
    lengths = torch.tensor([num_frames, 1])
    audio, video = (torch.randn(2, num_frames, 16, dtype=torch.float64) for _ in range(2))
    words = torch.randn(2, *asked, 5, 16, dtype=torch.float64)
    words_mask = mask_of(torch.tensor([3, 5]).view(2, *(1 for _ in asked)).expand(2, *asked), 5)
    mask = mask_of(lengths, num_frames)
    got = layer(
        spoilt(audio, lengths, value),
        spoilt(video, lengths, value),
        words.masked_fill(words_mask.unsqueeze(-1), value),
        audio_padding_mask=mask,
        video_padding_mask=mask,
        words_padding_mask=words_mask,
    )
    for clip, (length, word_count) in enumerate(((num_frames, 3), (1, 5))):
        one = slice(clip, clip + 1)
        wanted = layer(audio[one, :length], video[one, :length], words[one, ..., :word_count, :])
        for fused, alone in zip(got, wanted, strict=True):
            assert_close(fused[one, ..., :length, :], alone)
