"""Every wrong argument is a ValueError that names the argument, what came and what is wanted."""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import signature
from typing import Any

import pytest
import torch
from torch import Tensor

from gaussian_moe import (
    GaussianExpert,
    PatchFusion,
    ProgressiveRefiner,
    QuestionFusion,
    QuestionRouter,
    TemporalMoE,
    best_span,
    clip_extent,
    expert_spans,
    gated_timeline,
    gaussian_diversity_loss,
    importance_loss,
    load_balance_loss,
    peak_span,
    router_z_loss,
    routing_statistics,
)
from gaussian_moe.functional import gaussian_weights
from tests.gaussian_moe.support import small_moe

QUESTION, FRAMES, LENGTHS = torch.zeros(2, 16), torch.zeros(2, 5, 16), torch.tensor([5, 2])
MASK = torch.zeros(2, 5, dtype=torch.bool)


def refuses(call: Callable[..., object], *parts: str, **arguments: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(parts[0])) as raised:
        call(**arguments)
    for part in parts:
        assert part in str(raised.value)


LAYERS = [QuestionRouter, TemporalMoE, QuestionFusion, PatchFusion, ProgressiveRefiner]
SIZES: list[tuple[dict[str, Any], list[str]]] = [
    ({"dim": 16, "heads": 3}, ["heads", "dim=16", "heads=3"]),
    ({"dim": 16, "heads": 0}, ["heads", "at least 1", "0"]),
    ({"dim": 0, "heads": 4}, ["dim", "0"]),
    ({"dim": 16, "heads": 4, "dropout": 1.0}, ["dropout", "1.0"]),
    ({"dim": 16, "heads": 4, "dropout": -0.1}, ["dropout", "-0.1"]),
    ({"dim": 16, "heads": 4, "hidden_dim": 0}, ["hidden_dim", "0"]),
    ({"dim": 16, "heads": 4, "num_experts": 0}, ["num_experts", "0"]),
    ({"dim": 16, "heads": 4, "top_k": 0}, ["top_k", "0"]),
    ({"dim": 16, "heads": 4, "num_experts": 3, "top_k": 4}, ["top_k=4", "num_experts=3"]),
    ({"dim": 16, "heads": 4, "num_streams": -1}, ["num_streams", "-1"]),
    ({"dim": 16, "heads": 4, "backend": "cuda"}, ["backend", "auto, triton, torch", "'cuda'"]),
]


@pytest.mark.parametrize(
    ("layer", "arguments", "parts"),
    [(layer, *case) for layer in LAYERS for case in SIZES if case[0].keys() <= set(signature(layer).parameters)],
)
def test_construction(layer: Callable[..., object], arguments: dict[str, Any], parts: list[str]) -> None:
    refuses(layer, *parts, **arguments)


def test_construction_of_routers() -> None:
    for name in ("window", "normalization", "backend"):
        refuses(QuestionRouter, f"{name} must be one of", "'x'", dim=16, heads=4, **{name: "x"})
    for variant in ({"window": "box"}, {"window": "laplace"}):
        refuses(
            QuestionRouter, "backend='triton'", "use 'auto' or 'torch'", dim=16, heads=4, backend="triton", **variant
        )


def test_construction_of_experts() -> None:
    refuses(GaussianExpert, "num_experts", "0", dim=16, num_experts=0)
    refuses(GaussianExpert, "hidden_dim", "-1", dim=16, hidden_dim=-1)
    refuses(GaussianExpert, "dim", "0", dim=0, hidden_dim=4)
    for name in ("window", "normalization", "activation"):
        refuses(GaussianExpert, f"{name} must be one of", "'x'", dim=16, **{name: "x"})
    refuses(GaussianExpert, "backend", "'x'", dim=16, backend="x")
    refuses(GaussianExpert, "released_expert_order", "torch", dim=16, released_expert_order=True, backend="triton")


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"frames": torch.zeros(2, 5, 8)}, ["frames", "[B, T, 16]", "[2, 5, 8]"]),
    ({"frames": torch.zeros(2, 16)}, ["frames", "[B, T, 16]", "[2, 16]"]),
    ({"frames": torch.zeros(2, 5, 16, dtype=torch.int64)}, ["frames", "floating point", "torch.int64"]),
    ({"frames": FRAMES.double()}, ["frames", "torch.float32", "torch.float64", "autocast"]),
    ({"question": torch.zeros(2, 8)}, ["question", "[2, 16]", "[2, 8]"]),
    ({"question": torch.zeros(3, 16)}, ["question", "[2, 16]", "[3, 16]"]),
    ({"question": torch.zeros(16)}, ["question", "[16]"]),
    ({"question": torch.zeros(3, 4, 16)}, ["question", "[2, Q, 16]", "[3, 4, 16]"]),
    ({"question": torch.zeros(6, 16)}, ["question", "several questions about each clip are [B, Q, D]"]),
    ({"question": torch.zeros(5, 16)}, ["question", "frames are batch first: frames.transpose(0, 1)"]),
    ({"question": FRAMES, "frames": QUESTION}, ["frames", "are question and frames swapped?"]),
    ({"frames": torch.zeros(2, 5, 3, 16)}, ["question", "[2, 5, 16]", "streams=", "patches of a frame are averaged"]),
    ({"lengths": [5, 2]}, ["lengths", "must be a tensor, got list", "torch.as_tensor(lengths)"]),
    ({"times": MASK.float().numpy()}, ["times", "must be a tensor, got ndarray"]),
    ({"question": QUESTION.half()}, ["question", "torch.float32", "torch.float16"]),
    ({"key_padding_mask": MASK[:, :4]}, ["key_padding_mask", "[2, 5]", "[2, 4]"]),
    ({"key_padding_mask": MASK[0]}, ["key_padding_mask", "[2, 5]", "[5]"]),
    ({"key_padding_mask": MASK.long()}, ["key_padding_mask", "~mask.bool()", "torch.int64", "True = ignore"]),
    ({"key_padding_mask": MASK.float()}, ["key_padding_mask", "~mask.bool()", "torch.float32"]),
    ({"key_padding_mask": MASK, "lengths": LENGTHS}, ["key_padding_mask and lengths", "one of them"]),
    ({"lengths": LENGTHS.float()}, ["lengths", "integer", "torch.float32", "lengths.long()"]),
    ({"lengths": LENGTHS.bool()}, ["lengths", "integer", "torch.bool", "key_padding_mask"]),
    ({"lengths": torch.tensor([5])}, ["lengths", "[2]", "[1]"]),
    ({"times": torch.zeros(4)}, ["times", "[2, 5]", "[2, 4]"]),
    ({"times": torch.zeros(3, 5)}, ["times", "[2, 5]", "[3, 5]"]),
    ({"times": torch.tensor(1.0)}, ["times", "[2, 5]", "[]"]),
    ({"times": MASK}, ["times", "real numbers", "torch.bool"]),
    ({"duration": 3.0}, ["duration", "times"]),
    ({"times": torch.zeros(5), "duration": torch.ones(3)}, ["duration", "[2]", "[3]"]),
]


@pytest.mark.parametrize(("arguments", "parts"), WRONG)
@pytest.mark.parametrize("layer", [small_moe(), QuestionRouter(16, heads=4)], ids=["TemporalMoE", "QuestionRouter"])
def test_clips(layer: Callable[..., object], arguments: dict[str, Any], parts: list[str]) -> None:
    refuses(layer, *parts, **{"question": QUESTION, "frames": FRAMES, **arguments})


@pytest.mark.parametrize(
    ("num_streams", "streams", "parts"),
    [
        (0, [FRAMES], ["streams", "num_streams=S"]),
        (2, None, ["streams", "num_streams=2"]),
        (2, [FRAMES], ["streams", "2", "1"]),
        (2, [FRAMES, FRAMES[:, :4]], ["streams[1]", "[2, 5, 16]", "[2, 4, 16]"]),
        (2, [FRAMES.double(), FRAMES], ["streams[0]", "torch.float32", "torch.float64"]),
        (2, torch.zeros(2, 3, 5, 16), ["streams", "[2, 2, 5, 16]", "[2, 3, 5, 16]"]),
        (2, torch.zeros(2, 5, 16), ["streams", "[2, 2, 5, 16]", "[2, 5, 16]"]),
    ],
)
def test_streams(num_streams: int, streams: Any, parts: list[str]) -> None:
    refuses(small_moe(num_streams=num_streams), *parts, question=QUESTION, frames=FRAMES, streams=streams)


@pytest.mark.parametrize(
    "arguments", [{"key_padding_mask": MASK}, {"lengths": LENGTHS}, {"question": torch.zeros(2, 3, 16)}]
)
def test_released_order_has_no_padding_and_no_question_axis(arguments: dict[str, Tensor]) -> None:
    moe = small_moe(released=True)
    parts = ["released_expert_order", "released_expert_order=False", "key_padding_mask", "lengths", "[B, Q, D]"]
    refuses(moe, *parts, **{"question": QUESTION, "frames": FRAMES, **arguments})
    routing = moe.router(arguments.get("question", QUESTION), FRAMES)
    rest = {name: value for name, value in arguments.items() if name != "question"}
    refuses(moe.experts, "released_expert_order", frames=FRAMES, routing=routing, **rest)


@pytest.mark.parametrize(
    "function",
    [
        expert_spans,
        best_span,
        gated_timeline,
        peak_span,
        load_balance_loss,
        router_z_loss,
        importance_loss,
        gaussian_diversity_loss,
        routing_statistics,
    ],
)
def test_a_pair_is_no_routing(function: Callable[..., object]) -> None:
    pair = small_moe()(QUESTION, FRAMES, return_routing=True)
    refuses(lambda: function(pair), "routing must be a Routing", "got tuple", "second of the pair")
    refuses(lambda: function(None), "routing must be a Routing", "got NoneType")


def test_a_pair_is_no_routing_for_a_layer() -> None:
    moe = small_moe()
    pair = moe(QUESTION, FRAMES, return_routing=True)
    refuses(moe, "routing", "second of the pair", question=QUESTION, frames=FRAMES, routing=pair)
    refuses(moe.experts, "routing", "second of the pair", frames=FRAMES, routing=pair)


def test_experts() -> None:
    moe = small_moe()
    routing = moe.router(QUESTION, FRAMES)
    refuses(moe.experts, "frames", "[B, T, 16]", frames=FRAMES[0], routing=routing)
    refuses(moe.experts, "frames", "torch.float64", frames=FRAMES.double(), routing=routing)
    refuses(moe.experts, "weights", "[2, 3, 4]", "[2, 3, 5]", frames=FRAMES[:, :4], routing=routing)
    refuses(moe.experts, "weights", "[2, 3, 4]", frames=FRAMES[:, :4], routing=routing, lengths=torch.tensor([4, 4]))
    refuses(moe.experts, "gates", frames=FRAMES[:1], routing=routing)


def test_gaussian_weights() -> None:
    centers = torch.zeros(2, 3)
    refuses(gaussian_weights, "frames", "[5]", centers=centers, stds=centers, frames=torch.zeros(5))
    refuses(gaussian_weights, "centers", "[2]", centers=torch.zeros(2), stds=torch.zeros(2), frames=FRAMES)
    refuses(gaussian_weights, "centers", "[3, 3]", centers=torch.zeros(3, 3), stds=centers, frames=FRAMES)
    refuses(gaussian_weights, "stds", "[2, 3]", centers=centers, stds=torch.zeros(2, 4), frames=FRAMES)
    refuses(gaussian_weights, "duration", centers=centers, stds=centers, frames=FRAMES, duration=1.0)


def test_a_question_is_checked_also_where_a_routing_is_given() -> None:
    moe = TemporalMoE(16, num_experts=3, top_k=2, heads=4)
    frames = torch.randn(2, 5, 16)
    routing = moe.router(torch.randn(2, 16), frames)
    with pytest.raises(ValueError, match="question must have shape"):
        moe(torch.randn(3, 7), frames, routing=routing)
    with pytest.raises(ValueError, match=r"routing\.gates must have shape"):
        moe(torch.randn(2, 4, 16), frames, routing=routing)


@pytest.mark.parametrize("padding", [{"lengths": LENGTHS}, {"key_padding_mask": MASK}])
def test_experts_in_the_released_order_take_no_padding(padding: dict[str, Any]) -> None:
    routing = QuestionRouter(16, 7, 3, heads=4)(QUESTION, FRAMES)
    experts = GaussianExpert(16, num_experts=7, released_expert_order=True)
    refuses(experts, "released_expert_order", "drop key_padding_mask", frames=FRAMES, routing=routing, **padding)


@pytest.mark.parametrize(("clips", "asked"), [((2, 3, 4), 4), ((0,), 4), ((3,), 4)])
def test_a_question_of_other_clips_is_told_without_a_wrong_guess(clips: tuple[int, ...], asked: int) -> None:
    with pytest.raises(ValueError, match=r"question must have shape .*, got \[4, 16\]$"):
        small_moe()(torch.randn(asked, 16), torch.randn(*clips, 5, 16))


def test_windows_of_a_clip_are_checked_before_any_work() -> None:
    center = torch.full((2, 3), 0.5)
    for name in ("window", "normalization"):
        refuses(gaussian_weights, f"{name} must be one of", centers=center, stds=center, frames=FRAMES, **{name: "x"})
    # A clip's frames may be of any shape, one number each too.
    assert gaussian_weights(center, center, torch.zeros(2, 5)).shape == (2, 3, 5)
    refuses(gaussian_weights, "frames must have shape", centers=center, stds=center, frames=torch.zeros(2))
    several = torch.full((2, 3, 4), 0.5)
    for shares in (torch.ones(2, 3), torch.ones(2, 3, 1)):
        refuses(gaussian_weights, "shares must have", centers=several, stds=several, frames=FRAMES, shares=shares)


@pytest.mark.parametrize("times", [torch.tensor(1.0), torch.ones(5, dtype=torch.bool), torch.ones(5) * 1j])
def test_times_are_real_numbers(times: Tensor) -> None:
    refuses(clip_extent, "times must be real numbers", times=times)


@pytest.mark.parametrize("threshold", [0.0, 1.5])
def test_a_share_of_the_peak_is_one(threshold: float) -> None:
    refuses(peak_span, "threshold", routing=torch.rand(2, 5), threshold=threshold)
