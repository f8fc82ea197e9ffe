"""Wrong arguments of the function that pools."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gaussian_moe.functional import gaussian_expert_pool
from tests.gaussian_moe.test_errors import FRAMES, LENGTHS, MASK, refuses


def refused(*parts: str, **changed: Any) -> None:
    """The function refuses what is right but for some arguments."""
    shapes = {"weight1": (7, 8, 16), "bias1": (7, 8), "weight2": (7, 16, 8), "bias2": (7, 16)}
    right = {name: torch.zeros(shape) for name, shape in shapes.items()}
    right |= {"frames": FRAMES, "gates": torch.zeros(2, 3), "weights": torch.zeros(2, 3, 5)}
    right["indices"] = torch.zeros(2, 3, dtype=torch.int64)
    refuses(gaussian_expert_pool, *parts, **{**right, **changed})


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("gates", torch.zeros(3), ["gates"]),
        ("indices", torch.zeros(2, 2, dtype=torch.int64), ["indices", "[2, 3]", "[2, 2]"]),
        ("indices", torch.zeros(2, 3, dtype=torch.int32), ["indices", "int64", "torch.int32", "indices.long()"]),
        ("weights", torch.zeros(2, 3, 4), ["weights", "[2, 3, 5]"]),
        ("frames", torch.zeros(2, 5, 15), ["frames", "[B, T, 16]"]),
        ("centers", torch.zeros(2, 3), ["weights", "centers and stds"]),
        ("stds", torch.zeros(2, 3), ["weights", "centers and stds"]),
        ("shares", torch.zeros(2, 3, 1), ["weights", "centers and stds"]),
        ("weight1", torch.zeros(8, 16), ["weight1", "[E, H, D]"]),
        ("bias1", torch.zeros(7, 9), ["bias1", "[7, 8]", "[7, 9]"]),
        ("weight2", torch.zeros(7, 16, 9), ["weight2", "[7, D, 8]", "[7, 16, 9]"]),
        ("bias2", torch.zeros(7, 15), ["bias2", "[7, 16]"]),
    ],
)
def test_one_wrong_argument(name: str, value: Tensor, parts: list[str]) -> None:
    refused(*parts, **{name: value})


@pytest.mark.parametrize("given", [{}, {"centers": torch.zeros(2, 3)}, {"stds": torch.ones(2, 3)}])
def test_without_weights_a_window_has_a_center_and_a_std(given: dict[str, Any]) -> None:
    refused("centers and stds are wanted", weights=None, **given)


@pytest.mark.parametrize("shares", [None, torch.zeros(2, 3, 4)])
@pytest.mark.parametrize("wrong", ["centers", "stds"])
def test_windows_have_the_shape_of_the_gates_or_of_their_shares(wrong: str, shares: Tensor | None) -> None:
    shape = [2, 3] if shares is None else [2, 3, 4]
    windows = {"centers": torch.zeros(shape), "stds": torch.ones(shape), wrong: torch.ones(3, *shape[1:])}
    refused(f"{wrong} must have shape {shape}", weights=None, shares=shares, **windows)


def test_shares_have_the_gates_shape() -> None:
    shares = torch.zeros(2, 2, 2)
    refused("shares", "[2, 3, M]", "[2, 2, 2]", weights=None, centers=shares, stds=shares, shares=shares)


@pytest.mark.parametrize(
    "arguments",
    [
        {
            "gates": torch.zeros(2, 1, 3),
            "indices": torch.zeros(2, 1, 3, dtype=torch.int64),
            "weights": torch.zeros(2, 1, 3, 5),
        },
        {"lengths": LENGTHS},
        {"key_padding_mask": MASK},
        {"per_expert": True},
    ],
    ids=["questions", "lengths", "mask", "per expert"],
)
def test_the_released_order_is_of_one_question_without_padding(arguments: dict[str, Any]) -> None:
    refused("released_expert_order", released_expert_order=True, **arguments)


@pytest.mark.parametrize("name", ["window", "normalization", "activation", "backend"])
def test_a_name_is_one_of_those_that_there_are(name: str) -> None:
    """Also where nothing asks for it, as for a window where weights are given."""
    refused(f"{name} must be one of", "'other'", **{name: "other"})
