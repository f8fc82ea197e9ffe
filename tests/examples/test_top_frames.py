"""The frames a question attends to most: chosen by the layer's own attention, in the order of time, never padding."""

from __future__ import annotations

import pytest
import torch

from examples.avqa.reweighted import TopFramesMoE
from examples.avqa.top_frames import attention_weights, top_frames
from gaussian_moe import TemporalMoE
from gaussian_moe.attention import Attention
from tests.gaussian_moe.support import stirred


def test_weights_are_those_of_pytorchs_attention() -> None:
    attention = stirred(Attention(16, heads=4)).eval()
    theirs = torch.nn.MultiheadAttention(16, 4, batch_first=True).eval()
    theirs.load_state_dict(attention.state_dict())
    queries, frames = torch.randn(3, 2, 16), torch.randn(3, 7, 16)
    padding = torch.arange(7) >= torch.tensor([7, 5, 1])[:, None]
    _, wanted = theirs(queries, frames, frames, key_padding_mask=padding)
    assert torch.allclose(attention_weights(attention, queries, frames, padding), wanted, atol=1e-6)


def test_the_largest_in_the_order_of_time() -> None:
    weights = torch.tensor([[[0.1, 0.4, 0.0, 0.3, 0.2], [0.2, 0.2, 0.2, 0.2, 0.2]]])
    numbers, missing = top_frames(weights, 3)
    assert numbers.tolist() == [[[1, 3, 4], [0, 1, 2]]]
    assert not missing.any()


def test_padding_is_chosen_only_where_too_few_frames_are_there_and_is_told() -> None:
    weights = torch.tensor([[[0.3, 0.7, 0.0, 0.0]], [[0.3, 0.7, 0.0, 0.0]]])
    padding = torch.tensor([[False, False, False, False], [False, False, True, True]])
    numbers, missing = top_frames(weights, 3, padding)
    assert numbers[1, 0, :2].tolist() == [0, 1]
    assert missing.tolist() == [[[False, False, False]], [[False, False, True]]]


def test_more_frames_than_there_are_takes_all() -> None:
    numbers, _ = top_frames(torch.rand(2, 1, 4), 10)
    assert numbers.tolist() == [[[0, 1, 2, 3]]] * 2


@pytest.mark.parametrize("questions", [(), (3,)])
def test_the_mixture_sees_the_chosen_frames_alone(questions: tuple[int, ...]) -> None:
    moe = stirred(TopFramesMoE(16, 4, 2, 2, count=2)).eval()
    question, frames = torch.randn(2, *questions, 16), torch.randn(2, 6, 16)
    pooled, routing = moe(question, frames, return_routing=True)
    assert routing.weights.shape == (2, *questions, 2, 6)
    assert torch.equal(routing.weights.sum(-1), torch.full((2, *questions, 2), 2.0))
    plain = TemporalMoE(16, 4, 2, 2).eval()
    plain.load_state_dict(moe.state_dict())
    assert torch.allclose(plain(question, frames, routing=routing), pooled, atol=1e-6)
    # As many as there are is uniform pooling.
    moe.count = 6
    ones = routing._replace(weights=torch.ones_like(routing.weights))
    assert torch.allclose(moe(question, frames), plain(question, frames, routing=ones), atol=1e-6)


def test_padding_changes_nothing() -> None:
    moe = stirred(TopFramesMoE(16, 4, 2, 2, count=3)).eval()
    question, frames = torch.randn(3, 16), torch.randn(3, 5, 16)
    padded = torch.cat((frames, torch.full((3, 2, 16), 1e3)), dim=1)
    padding = (torch.arange(7) >= 5).expand(3, -1)
    assert torch.allclose(moe(question, padded, key_padding_mask=padding), moe(question, frames), atol=1e-5)


def test_at_least_one_frame() -> None:
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        TopFramesMoE(16, count=0)
