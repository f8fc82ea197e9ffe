"""Wrong arguments of the layers that read several sequences."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gaussian_moe import PatchFusion, ProgressiveRefiner, QuestionFusion
from tests.gaussian_moe.test_errors import refuses

SEQUENCE, WORDS, PATCHES = torch.zeros(2, 5, 16), torch.zeros(2, 3, 16), torch.zeros(2, 5, 4, 16)


def mask(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.bool)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"audio": torch.zeros(2, 5, 8)}, ["audio", "[B, T, 16]", "[2, 5, 8]"]),
        ({"audio": SEQUENCE.long()}, ["audio", "floating point"]),
        ({"video": torch.zeros(3, 5, 16)}, ["video", "[2, T', 16]", "[3, 5, 16]"]),
        ({"video": SEQUENCE.double()}, ["video", "torch.float64"]),
        ({"words": torch.zeros(3, 3, 16)}, ["words", "[2, L, 16]", "[3, 3, 16]"]),
        ({"words": torch.zeros(3, 4, 3, 16)}, ["words", "[2, Q, L, 16]"]),
        ({"words": torch.zeros(2, 16)}, ["words", "[2, L, 16]", "[2, 16]"]),
        ({"audio_padding_mask": mask(2, 4)}, ["audio_padding_mask", "[2, 5]", "[2, 4]"]),
        ({"video_padding_mask": mask(2, 5).int()}, ["video_padding_mask", "~mask.bool()", "torch.int32"]),
        ({"words_padding_mask": mask(2, 5)}, ["words_padding_mask", "[2, 3]", "[2, 5]"]),
        (
            {"words": torch.zeros(2, 4, 3, 16), "words_padding_mask": mask(2, 3)},
            ["words_padding_mask", "[2, 4, 3]", "[2, 3]"],
        ),
    ],
)
def test_fusion(arguments: dict[str, Any], parts: list[str]) -> None:
    given = {"audio": SEQUENCE, "video": SEQUENCE, "words": WORDS, **arguments}
    refuses(QuestionFusion(16, heads=4), *parts, **given)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"patches": SEQUENCE}, ["patches", "[B, T, N, 16]", "[2, 5, 16]"]),
        ({"patches": PATCHES.half()}, ["patches", "torch.float16"]),
        ({"audio": torch.zeros(2, 4, 16)}, ["audio", "[2, 5, 16]", "[2, 4, 16]"]),
        ({"audio": torch.zeros(2, 3, 4, 16)}, ["audio", "[2, Q, 5, 16]", "[2, 3, 4, 16]"]),
        ({"video": torch.zeros(2, 3, 5, 16)}, ["video", "[2, 5, 16]", "[2, 3, 5, 16]"]),
        ({"video": SEQUENCE.long()}, ["video", "floating point"]),
    ],
)
def test_patches(arguments: dict[str, Any], parts: list[str]) -> None:
    given = {"patches": PATCHES, "audio": SEQUENCE, "video": SEQUENCE, **arguments}
    refuses(PatchFusion(16, heads=4), *parts, **given)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"question": torch.zeros(2, 8)}, ["question", "[B, 16]", "[2, 8]"]),
        ({"question": torch.zeros(16)}, ["question [16]", "[N, 16]", "[2, 5, 16]"]),
        ({"pooled": torch.zeros(2, 16)}, ["pooled", "[2, N, 16]", "[2, 16]"]),
        ({"pooled": torch.zeros(3, 2, 16)}, ["pooled", "[2, N, 16]", "[3, 2, 16]"]),
        ({"pooled": torch.zeros(2, 0, 16)}, ["pooled", "at least one"]),
        ({"pooled": SEQUENCE.double()}, ["pooled", "torch.float64"]),
        ({"question": torch.zeros(2, 3, 16)}, ["pooled", "[2, 3, N, 16]"]),
    ],
)
def test_refiner(arguments: dict[str, Any], parts: list[str]) -> None:
    refuses(
        ProgressiveRefiner(16, heads=4), *parts, **{"question": torch.zeros(2, 16), "pooled": SEQUENCE, **arguments}
    )
