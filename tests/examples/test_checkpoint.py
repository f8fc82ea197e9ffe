"""The published names and ours, in both directions."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from examples.avqa.checkpoint import from_released, to_released
from examples.avqa.model import QATiger
from tests.gaussian_moe.support import golden

PUBLISHED = golden("qa_tiger").state


def small_model() -> QATiger:
    return QATiger(audio_dim=16, video_dim=24, patch_dim=20, dim=16)


def test_every_published_name_becomes_one_of_ours() -> None:
    ours, text = from_released(PUBLISHED)
    small_model().load_state_dict(ours, strict=True)
    assert text == {}


def test_to_released_is_the_inverse() -> None:
    again = to_released(from_released(PUBLISHED)[0])
    assert again.keys() == PUBLISHED.keys()
    for name, tensor in PUBLISHED.items():
        assert torch.equal(again[name], tensor), name


def test_from_released_is_the_inverse() -> None:
    state = small_model().state_dict()
    again, _ = from_released(to_released(state))
    assert again.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(again[name], tensor), name


def test_more_than_ten_experts_keep_their_order() -> None:
    """Expert 10 follows 9; as text it would follow 1."""
    state = QATiger(audio_dim=2, video_dim=2, patch_dim=2, dim=8, num_experts=12, top_k=2).state_dict()
    again, _ = from_released(dict(sorted(to_released(state).items())))
    for name, tensor in state.items():
        assert torch.equal(again[name], tensor), name


def test_text_tower_is_split_off() -> None:
    tower = {"positional_embedding": torch.ones(3), "ln_final.weight": torch.zeros(2)}
    state = {**PUBLISHED, **{f"quest_encoder.{name}": tensor for name, tensor in tower.items()}}
    ours, text = from_released(state)
    assert text == tower
    assert ours.keys() == from_released(PUBLISHED)[0].keys()


def test_a_wrapper_s_prefix_is_taken_off() -> None:
    ours, text = from_released({f"module.{name}": tensor for name, tensor in PUBLISHED.items()})
    assert ours.keys() == from_released(PUBLISHED)[0].keys()
    assert from_released({"module.quest_encoder.x": torch.ones(1)})[1] == {"x": torch.ones(1)}
    assert text == {}


@pytest.mark.parametrize("name", ["nonsense.weight", "crs_attnx.weight", "at_aggregator.experts.0.1.weight"])
def test_an_unknown_name_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"'{name}' is not a name of QA-TIGER's state dict")):
        from_released({**PUBLISHED, name: torch.zeros(1)})


def test_an_unknown_name_of_ours_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'decoder\.weight' is not a name"):
        to_released({"decoder.weight": torch.zeros(1)})


@pytest.mark.parametrize("missing", [0, 3])
def test_a_gap_in_the_experts_numbers_is_an_error(missing: int) -> None:
    state: dict[str, Tensor] = {
        name: tensor for name, tensor in PUBLISHED.items() if f"vt_aggregator.experts.{missing}." not in name
    }
    with pytest.raises(ValueError, match=r"experts of visual_moe\.experts\.\w+ are numbered"):
        from_released(state)
