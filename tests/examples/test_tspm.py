"""TSPM against its definition written out for one question, and what holds for every model of the trainer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from examples.avqa.tspm import TSPM
from tests.gaussian_moe.support import stirred


def small_model(**kwargs: Any) -> TSPM:
    sizes = {"audio_dim": 8, "video_dim": 12, "patch_dim": 10, "question_dim": 12, "dim": 16, "num_answers": 5}
    return stirred(TSPM(**(sizes | {"count": 3} | kwargs))).eval()


def clips(number: int, frames: int = 6, questions: tuple[int, ...] = ()) -> list[Tensor]:
    """Random audio, video, patches, question and prompt."""
    return [
        torch.randn(number, frames, 8),
        torch.randn(number, frames, 12),
        torch.randn(number, frames, 3, 10),
        torch.randn(number, *questions, 12),
        torch.randn(number, *questions, 12),
    ]


def _attention(layer: Any, query: Tensor, source: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    theirs = nn.MultiheadAttention(query.shape[-1], heads, batch_first=True, dtype=query.dtype).eval()
    theirs.load_state_dict(layer.state_dict())
    attended, weights = theirs(query[None], source[None], source[None])
    return attended[0], weights[0]


def _written_out(model: TSPM, inputs: list[Tensor]) -> Tensor:
    """The logits of one clip and one question by the paper's steps, frame by frame."""
    audio, video, patches, question, prompt = inputs
    audio, video = model.audio_projection(audio), model.video_projection(video)
    question, prompt = model.question_projection(question), model.prompt_projection(prompt)

    def fused(x: Tensor, other: Tensor) -> Tensor:
        own, _ = _attention(model.fusion.self_attention, x, x, 1)
        crossed, _ = _attention(model.fusion.cross_attention, x, other, 1)
        h = model.fusion.norm1(x + own + crossed)
        out: Tensor = model.fusion.norm2(h + model.fusion.linear2(F.relu(model.fusion.linear1(h))))
        return out

    def read(part: Any, query: Tensor, source: Tensor) -> Tensor:
        attended = _attention(part.attention, query[None], source, 4)[0][0]
        out: Tensor = part.norm(attended + part.linear2(F.relu(part.linear1(attended))))
        return out

    _, weights = _attention(model.selection, prompt[None], video, 4)
    chosen = sorted(weights[0].argsort(descending=True)[: model.count].tolist())
    heard, seen = audio[chosen], []
    for number in chosen:
        p = model.patch_projection(patches[number])
        h = model.patch_attention.norm1(p + _attention(model.patch_attention.attention, p, p, 1)[0])
        h = model.patch_attention.norm2(h + model.patch_attention.linear2(F.relu(model.patch_attention.linear1(h))))
        seen.append(read(model.spatial, audio[number], h))
    sight = torch.stack(seen)
    vectors = [
        read(model.temporal, question, heard),
        fused(audio, video).mean(0),
        heard.mean(0),
        read(model.temporal, question, sight),
        fused(video, audio).mean(0),
        sight.mean(0),
    ]
    joined = model.joined(torch.cat(vectors).tanh())
    logits: Tensor = model.head((joined * question).tanh())
    return logits


@pytest.mark.parametrize("count", [3, 6, 9])
def test_it_is_its_definition(count: int) -> None:
    model = small_model(count=count).double()
    inputs = [tensor.double() for tensor in clips(2)]
    wanted = torch.stack([_written_out(model, [tensor[number] for tensor in inputs]) for number in range(2)])
    assert torch.allclose(model(*inputs).logits, wanted, atol=1e-12)


@pytest.mark.parametrize("count", [1, 3])
def test_a_question_axis_is_the_questions_one_by_one(count: int) -> None:
    """With one frame the patches are chosen first, with three all are read."""
    model = small_model(count=count)
    audio, video, patches, question, prompt = clips(2, questions=(4,))
    together = model(audio, video, patches, question, prompt).logits
    single = [model(audio, video, patches, question[:, n], prompt[:, n]).logits for n in range(4)]
    assert together.shape == (2, 4, 5)
    assert torch.allclose(together, torch.stack(single, dim=1), atol=1e-5)


@pytest.mark.parametrize("valid", [1, 2, 6])
def test_padding_changes_nothing_whatever_it_holds(valid: int) -> None:
    model = small_model()
    audio, video, patches, question, prompt = clips(2, frames=valid)

    def padded(tensor: Tensor) -> Tensor:
        return torch.cat((tensor, torch.full((2, 3, *tensor.shape[2:]), torch.nan)), dim=1)

    mask = (torch.arange(valid + 3) >= valid).expand(2, -1)
    wanted = model(audio, video, patches, question, prompt).logits
    got = model(padded(audio), padded(video), padded(patches), question, prompt, padding_mask=mask).logits
    assert torch.allclose(got, wanted, atol=1e-5)


def test_every_trained_parameter_gets_a_gradient_and_the_selection_none() -> None:
    model = small_model()
    model(*clips(2)).logits.square().sum().backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == trained
    assert {name.split(".")[0] for name, _ in model.named_parameters()} - {name.split(".")[0] for name in trained} == {
        "prompt_projection",
        "selection",
    }


def test_the_prompt_chooses() -> None:
    model = small_model(count=1)
    audio, video, patches, question, prompt = clips(8)
    one, other = (model(audio, video, patches, question, p).logits for p in (prompt, -5 * prompt))
    assert not torch.allclose(one, other, atol=1e-4)


def test_a_prompt_of_another_shape_is_refused() -> None:
    audio, video, patches, question, prompt = clips(2)
    with pytest.raises(ValueError, match=r"prompt must be \[2, 12\], as the question, got \[2, 1, 12\]"):
        small_model()(audio, video, patches, question, prompt.unsqueeze(1))
