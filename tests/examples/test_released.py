"""A file of released weights is read without trusting it, and what does not fit the published model is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from examples.avqa.checkpoint import to_released
from examples.avqa.config import ModelConfig
from examples.avqa.errors import UserError
from examples.avqa.model import QATiger
from examples.avqa.released import read_released


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    model = QATiger(audio_dim=3, video_dim=5, patch_dim=4, dim=16, num_answers=6, num_experts=3, top_k=2, heads=2)
    return {name: tensor.detach().clone() for name, tensor in to_released(model.state_dict()).items()}


def _with_tower(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return state | {"quest_encoder.ln_final.weight": torch.ones(2), "quest_encoder.token": torch.ones(1)}


FORMS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "plain": lambda state: state,
    "nested": lambda state: {"epoch": 3, "state_dict": state},
    "nested twice": lambda state: {"net": {"model": state}},
    "DataParallel": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "compiled": lambda state: {f"model._orig_mod.{name}": tensor for name, tensor in state.items()},
    "half": lambda state: {name: tensor.half() for name, tensor in state.items()},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_and_its_sizes_are_seen(state: dict[str, Tensor], tmp_path: Path, form: str) -> None:
    torch.save(FORMS[form](_with_tower(state)), tmp_path / "weights.pt")
    released = read_released(tmp_path / "weights.pt")
    assert released.state.keys() == state.keys()
    assert released.text_tensors == 2
    assert (released.dim, released.num_answers, released.num_experts) == (16, 6, 3)
    assert released.feature_dims == {"audio": 3, "video": 5, "patches": 4, "question": 5, "words": 5}


def test_safetensors_are_read(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "weights.safetensors")
    read = read_released(tmp_path / "weights.safetensors").state
    assert all(torch.equal(read[name], tensor) for name, tensor in state.items())


def _gap(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if "vt_aggregator.experts.1." not in name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {n: t for n, t in s.items() if n != "head.bias"}, r"it lacks head\.bias$"),
        (lambda s: {n: t for n, t in s.items() if n != "head.weight"}, r"it lacks head\.weight; has other shapes"),
        (_gap, r"it lacks vt_aggregator\.experts\.1\.0\.weight, "),
        (
            lambda s: s | {"decoder.weight": torch.ones(1)},
            r"holds, which the published model does not, decoder\.weight",
        ),
        (lambda s: s | {"head.bias": torch.ones(7)}, r"has other shapes: head\.bias \[7\] in place of \[6\]$"),
        (lambda s: s | {"head.bias": torch.full((6,), torch.nan)}, r"holds NaN or infinity in head\.bias$"),
        (lambda s: s | {"head.weight": torch.ones(0, 0)}, r"it holds nothing in head\.weight \[0, 0\]$"),
        (lambda s: s | {"audio_proj.proj.weight": torch.ones(3, 0)}, r"it holds nothing in audio_proj\.proj\.weight"),
        (lambda s: s | {"epoch": 3}, r"no tensors are epoch$"),
        (lambda s: {}, "no state dict"),
        (lambda s: [s], "holds list, no state dict"),
        (lambda s: {f"other{n}": torch.ones(1) for n in range(9)}, r"other0, other1, .* and 4 more"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(
    state: dict[str, Tensor], tmp_path: Path, change: Callable[[dict[str, Tensor]], Any], message: str
) -> None:
    torch.save(change(state), tmp_path / "weights.pth")
    with pytest.raises(UserError, match=message) as told:
        read_released(tmp_path / "weights.pth")
    assert "weights.pth" in str(told.value)
    assert "\n" not in str(told.value)


def test_nothing_but_tensors_is_unpickled(tmp_path: Path) -> None:
    torch.save({"path": tmp_path}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match="never unpickled"):
        read_released(tmp_path / "weights.pt")


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_what_is_no_archive_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_released(tmp_path / name)
    (tmp_path / name).write_bytes(b"hello hello hello")
    with pytest.raises(UserError, match=rf"{name} is cut off"):
        read_released(tmp_path / name)


def test_the_config_must_agree_with_the_tensors(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "weights.pt")
    released = read_released(tmp_path / "weights.pt")
    assert released.model_config(None) == ModelConfig(dim=16, num_experts=3, top_k=3)
    given = ModelConfig(dim=16, num_experts=3, top_k=1, heads=4, dropout=0.3)
    assert released.model_config(given) == given
    for fields, message in (
        ({"dim": 32}, r"model\.dim is 32, but the tensors in .* have 16"),
        ({"num_experts": 7}, r"model\.num_experts is 7, but .* have 3"),
        ({"pooling": "uniform"}, r"model\.pooling is 'uniform', .* wants 'gaussian'"),
        ({"seconds_per_frame": 2}, r"model\.seconds_per_frame is 2"),
        ({"whiten": {"audio": 3}}, r"model\.whiten"),
    ):
        with pytest.raises(UserError, match=message):
            released.model_config(replace(given, **fields))
