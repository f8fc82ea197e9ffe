"""QA-TIGER through huggingface_hub's mixin."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard

from examples.avqa import model
from examples.avqa.hub import QATiger
from tests.gaussian_moe.support import stirred

INPUTS = (
    torch.randn(2, 7, 8),
    torch.randn(2, 7, 24),
    torch.randn(2, 7, 3, 20),
    torch.randn(2, 24),
    torch.randn(2, 5, 24),
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pooling", ["gaussian", "uniform", "top_frames"])
def test_what_is_loaded_is_what_was_saved(pooling: model.Pooling, dtype: torch.dtype, tmp_path: Path) -> None:
    ours = stirred(QATiger(8, 24, 20, dim=16, heads=4, num_answers=5, pooling=pooling, top_frames=3)).to(dtype)
    ours.save_pretrained(tmp_path)
    loaded = QATiger.from_pretrained(tmp_path)
    assert isinstance(loaded, model.QATiger)
    for (name, parameter), same in zip(ours.named_parameters(), loaded.parameters(), strict=True):
        assert torch.equal(parameter, same), name
        assert (parameter.dtype, parameter.requires_grad) == (same.dtype, same.requires_grad), name
    given = [tensor.to(dtype) for tensor in INPUTS]
    assert torch.equal(loaded(*given).logits, ours(*given).logits)


def test_config_and_card(tmp_path: Path) -> None:
    ours = QATiger(8, 24, 20, dim=16, heads=4, num_answers=5)
    ours.save_pretrained(tmp_path, model_card_kwargs={"details": "Features: preset small."})
    config = json.loads((tmp_path / "config.json").read_text())
    assert set(config) == set(inspect.signature(model.QATiger).parameters)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.pipeline_tag == "visual-question-answering"
    for part in ("from examples.avqa.hub import QATiger", "arxiv.org/abs/2503.04459", "Features: preset small."):
        assert part in card.text
