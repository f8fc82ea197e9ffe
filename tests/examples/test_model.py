"""QA-TIGER against the published model's numbers, and what holds for every layer held for the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from examples.avqa.checkpoint import from_released
from examples.avqa.model import QATiger
from tests.gaussian_moe.support import assert_close, golden, stirred

NAMES = ("audio", "video", "patches", "question", "words")


def small_model(**kwargs: Any) -> QATiger:
    return stirred(QATiger(audio_dim=8, video_dim=12, patch_dim=10, dim=16, num_answers=5, heads=4, **kwargs))


def clips(number: int, frames: int = 6, questions: tuple[int, ...] = (), words: int = 4) -> list[Tensor]:
    """Random audio, video, patches, question and words."""
    return [
        torch.randn(number, frames, 8),
        torch.randn(number, frames, 12),
        torch.randn(number, frames, 3, 10),
        torch.randn(number, *questions, 12),
        torch.randn(number, *questions, words, 12),
    ]


def published(dtype: torch.dtype, released: bool = False) -> tuple[QATiger, list[Tensor]]:
    file = golden("qa_tiger")
    model = QATiger(
        audio_dim=file.meta["audio_dim"],
        video_dim=file.meta["video_dim"],
        patch_dim=file.meta["patch_dim"],
        dim=file.meta["d_model"],
        heads=file.meta["heads"],
        num_experts=file.meta["num_experts"],
        top_k=file.meta["top_k"],
        num_answers=file.meta["answers"],
        released_expert_order=released,
    )
    model.load_state_dict(from_released(file.state)[0])
    inputs = [file.inputs[name] for name in ("audio", "video", "patch", "question", "words")]
    return model.to(dtype).eval(), [tensor.to(dtype).requires_grad_() for tensor in inputs]


def test_trainable_parameters_at_the_published_sizes() -> None:
    with torch.device("meta"):
        model = QATiger()
    assert sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad) == 14_960_212


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-9), (torch.float32, 5e-5)], ids=["float64", "float32"])
def test_outputs_and_gradients_are_the_published_ones(dtype: torch.dtype, error: float) -> None:
    """float32 is allowed 800 roundings of 6e-8, through a dozen layers."""
    file = golden("qa_tiger")
    model, inputs = published(dtype)
    logits = model(*inputs).logits
    logits.backward(file.cotangents["logits"].to(dtype))
    assert_close(logits.double(), file.outputs["logits"], error)
    for name, leaf in zip(("audio", "video", "patch", "question", "words"), inputs, strict=True):
        assert leaf.grad is not None
        assert_close(leaf.grad.double(), file.grad_inputs[name], error, name)
    wanted = from_released(file.grad_state)[0]
    parameters = dict(model.named_parameters())
    assert parameters.keys() == wanted.keys()
    for name, parameter in parameters.items():
        assert parameter.grad is not None
        assert_close(parameter.grad.double(), wanted[name], error, name)


def test_released_expert_order_gives_the_published_batched_output() -> None:
    file = golden("qa_tiger")
    model, inputs = published(torch.float64, released=True)
    assert_close(model(*inputs).logits, file.released["logits"], 1e-9)
    assert (file.released["logits"] - file.outputs["logits"]).abs().max() > 0.1


@pytest.mark.parametrize("pooling", ["gaussian", "uniform"])
@pytest.mark.parametrize("top_k", [3, 7])
def test_an_answer_does_not_depend_on_its_batch(pooling: str, top_k: int) -> None:
    model, inputs = small_model(pooling=pooling, top_k=top_k), clips(20)
    rng = np.random.default_rng(3)
    with torch.no_grad():
        alone = torch.cat([model(*(tensor[b : b + 1] for tensor in inputs)).logits for b in range(20)])
        for _ in range(40):
            batch = rng.integers(0, 20, size=rng.integers(1, 8)).tolist()
            assert_close(model(*(tensor[batch] for tensor in inputs)).logits, alone[batch], 1e-5)


def test_released_expert_order_depends_on_the_batch() -> None:
    model, inputs = small_model(top_k=3, released_expert_order=True), clips(4)
    alone = torch.cat([model(*(tensor[b : b + 1] for tensor in inputs)).logits for b in range(4)])
    assert (model(*inputs).logits - alone).abs().max() > 0.01


@pytest.mark.parametrize("pooling", ["gaussian", "uniform"])
@pytest.mark.parametrize("padded", [False, True])
def test_many_questions_equal_one_by_one(pooling: str, padded: bool) -> None:
    model, inputs = small_model(pooling=pooling, top_k=3).double(), [x.double() for x in clips(2, questions=(3,))]
    mask = torch.arange(6) >= torch.tensor([[6], [4]]) if padded else None
    words_mask = torch.arange(4) >= torch.tensor([[4, 2, 1], [3, 4, 4]]).unsqueeze(-1) if padded else None
    got = model(*inputs, padding_mask=mask, words_padding_mask=words_mask)
    assert got.logits.shape == (2, 3, 5)
    for q in range(3):
        alone = model(
            *inputs[:3],
            inputs[3][:, q],
            inputs[4][:, q],
            padding_mask=mask,
            words_padding_mask=None if words_mask is None else words_mask[:, q],
        )
        assert_close(got.logits[:, q], alone.logits)


@pytest.mark.parametrize("pooling", ["gaussian", "uniform"])
def test_a_padded_clip_is_the_unpadded_one(pooling: str) -> None:
    model, inputs = small_model(pooling=pooling).double(), [x.double() for x in clips(3)]
    lengths, words = [6, 4, 1], [4, 2, 3]
    mask = torch.arange(6) >= torch.tensor(lengths).unsqueeze(-1)
    words_mask = torch.arange(4) >= torch.tensor(words).unsqueeze(-1)
    got = model(*inputs, padding_mask=mask, words_padding_mask=words_mask).logits
    for b in range(3):
        audio, video, patches, question, text = (tensor[b : b + 1] for tensor in inputs)
        length = lengths[b]
        alone = model(audio[:, :length], video[:, :length], patches[:, :length], question, text[:, : words[b]]).logits
        assert_close(got[b : b + 1], alone)


@pytest.mark.parametrize("pooling", ["gaussian", "uniform"])
@pytest.mark.parametrize(
    ("number", "frames", "questions", "words"),
    [(0, 6, (), 4), (0, 6, (3,), 4), (2, 0, (), 4), (2, 1, (), 1), (2, 6, (), 0), (2, 63, (2,), 4)],
)
def test_odd_sizes(pooling: str, number: int, frames: int, questions: tuple[int, ...], words: int) -> None:
    model, inputs = small_model(pooling=pooling, top_k=3), clips(number, frames, questions, words)
    logits = model(*inputs).logits
    assert logits.shape == (number, *questions, 5)
    logits.sum().backward()
    assert logits.isfinite().all()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


def test_a_clip_with_no_valid_frame_disturbs_nobody() -> None:
    model, inputs = small_model(), clips(2)
    mask = torch.tensor([[False] * 6, [True] * 6])
    logits = model(*inputs, padding_mask=mask).logits
    logits.sum().backward()
    assert logits.isfinite().all()
    assert_close(logits[:1], model(*(tensor[:1] for tensor in inputs)).logits, 1e-5)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_uniform_pooling_weighs_every_valid_frame_alike() -> None:
    model, inputs = small_model(pooling="uniform", top_k=3), clips(2)
    mask = torch.tensor([[False] * 6, [False] * 4 + [True] * 2])
    out = model(*inputs, padding_mask=mask)
    wanted = (~mask).float().unsqueeze(1).expand(2, 3, 6)
    for routing in (out.audio_routing, out.visual_routing):
        assert routing.weights is not None
        assert torch.equal(routing.weights, wanted)
    assert small_model(pooling="gaussian").state_dict().keys() == model.state_dict().keys()


def test_pooling_changes_the_answer() -> None:
    gaussian, uniform = small_model(), small_model(pooling="uniform")
    uniform.load_state_dict(gaussian.state_dict())
    inputs = clips(2)
    assert (gaussian(*inputs).logits - uniform(*inputs).logits).abs().max() > 1e-2


def test_unknown_pooling() -> None:
    with pytest.raises(ValueError, match="pooling must be one of gaussian, uniform, top_frames, got 'mean'"):
        small_model(pooling="mean")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_padding_holds_gives_no_gradient(value: float) -> None:
    model, (audio, video, patches, question, words) = small_model(), clips(2)
    mask, words_mask = torch.arange(6) >= torch.tensor([[6], [4]]), torch.arange(4) >= torch.tensor([[2], [4]])
    logits = model(
        audio.masked_fill(mask.unsqueeze(-1), value),
        video.masked_fill(mask.unsqueeze(-1), value),
        patches.masked_fill(mask[..., None, None], value),
        question,
        words.masked_fill(words_mask.unsqueeze(-1), value),
        padding_mask=mask,
        words_padding_mask=words_mask,
    ).logits
    logits.sum().backward()
    assert logits.isfinite().all()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_width_names_the_argument(name: str) -> None:
    inputs = dict(zip(NAMES, clips(2), strict=True))
    inputs[name] = inputs[name][..., 1:]
    with pytest.raises(ValueError, match=name):
        small_model()(**inputs)


@pytest.mark.parametrize("asked", [(3,), ()])
def test_question_and_words_with_different_axes_are_named(asked: tuple[int, ...]) -> None:
    other = () if asked else (3,)
    question, words = clips(2, questions=asked)[3], clips(2, questions=other)[4]
    with pytest.raises(ValueError, match="question and words"):
        small_model()(*clips(2)[:3], question, words)
