"""Folders of the Hub's kind that fuzzing found to break something, each with a clear error now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from gaussian_moe import GaussianExpert
from gaussian_moe.hub import TemporalMoE


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"dim": 1 << 20}, "does not fit TemporalMoE"),
        ({"dim": "4"}, "describes no TemporalMoE"),
        ({"dim": 10**30}, "describes no TemporalMoE"),
        ({"num_experts": -1}, "describes no TemporalMoE"),
        ({"num_experts": 1 << 60}, "describes no TemporalMoE"),
        ({"num_experts": 1 << 30}, "does not fit TemporalMoE"),
        ({"num_streams": 10**300}, "num_streams is larger than 14, the number of tensors in model.safetensors"),
        ({"num_streams": 15}, "num_streams is larger than 14"),
        ({"num_streams": 14}, "does not fit TemporalMoE"),
        ({"x" * 5000: 1}, "which TemporalMoE does not take"),
    ],
    ids=["large", "text", "huge", "negative", "experts", "many", "streams", "more", "less", "unknown"],
)
def test_a_saved_layer_whose_config_lies_is_refused(tmp_path: Path, config: dict[str, Any], said: str) -> None:
    TemporalMoE(4, 3, top_k=2, heads=2).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    with pytest.raises(ValueError, match=said) as told:
        TemporalMoE.from_pretrained(tmp_path)
    assert str(tmp_path) in str(told.value)
    assert str(told.value).isprintable()
    assert len(str(told.value)) < 1200


def test_what_does_not_fit_is_told_before_it_takes_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TemporalMoE(4, 3, top_k=2, heads=2).save_pretrained(tmp_path)
    made: list[str] = []
    initialised = GaussianExpert.__init__

    def noted(self: GaussianExpert, *given: Any, **named: Any) -> None:
        initialised(self, *given, **named)
        made.append(self.weight1.device.type)

    monkeypatch.setattr(GaussianExpert, "__init__", noted)
    with pytest.raises(ValueError, match="does not fit TemporalMoE"):
        TemporalMoE.from_pretrained(tmp_path, num_experts=4)
    assert made == ["meta"]
    TemporalMoE.from_pretrained(tmp_path)
    assert made == ["meta", "meta", "cpu"]


def test_other_streams_than_saved_ones_are_made_on_request(tmp_path: Path) -> None:
    TemporalMoE(4, 3, top_k=2, heads=2).save_pretrained(tmp_path)
    assert len(TemporalMoE.from_pretrained(tmp_path, num_streams=20, strict=False).norms) == 20


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000])
def test_a_saved_layer_whose_config_is_none_is_refused(tmp_path: Path, text: str) -> None:
    TemporalMoE(4, 3, top_k=2, heads=2).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json is no JSON"):
        TemporalMoE.from_pretrained(tmp_path)


@pytest.mark.parametrize("versions", ["[]", "{", '{"": "x"}', "[" * 100_000, "5", '{"": null}'])
def test_a_saved_layer_whose_versions_are_none_is_refused(tmp_path: Path, versions: str) -> None:
    TemporalMoE(4, 3, top_k=2, heads=2).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    save_file(load_file(path), path, {"format": "pt", "versions": versions})
    with pytest.raises(ValueError, match=r"model\.safetensors is no safetensors file of this library"):
        TemporalMoE.from_pretrained(tmp_path)
