"""Checkpoints of a run, and released weights."""

from __future__ import annotations

import functools
import io
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from examples.avqa.checkpoint import from_released, to_released
from examples.avqa.config import ModelConfig, OptimizerConfig
from examples.avqa.fit import load_model
from examples.avqa.model import QATiger
from examples.avqa.module import KINDS, AVQAModule
from examples.avqa.released import read_released
from examples.avqa.training import _steps_done
from tests.stress.fuzz.archive_changes import archive_changed, packed
from tests.stress.fuzz.parser import Files, Parser
from tests.stress.fuzz.pickle_changes import pickle_changed
from tests.stress.fuzz.safetensors_changes import safetensors_changed

_DIMS = dict(zip(KINDS, (3, 5, 4, 5, 5), strict=True))


def saved(value: Any, legacy: bool = False) -> bytes:
    """What torch.save writes, today or before version 1.6."""
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


@functools.cache
def checkpoint() -> bytes:
    """A tiny model's best.ckpt, with the fields that matter here."""
    torch.manual_seed(0)
    model = ModelConfig(dim=4, num_experts=2, top_k=1, heads=1, whiten={"question": 2, "words": 2})
    module = AVQAModule.from_configs(model, OptimizerConfig(), _DIMS, ["yes", "no"], "small")
    return saved(
        {
            "epoch": 1,
            "global_step": 12,
            "pytorch-lightning_version": "2.6.0",
            "state_dict": module.state_dict(),
            "hparams_name": "kwargs",
            "hyper_parameters": dict(module.hparams),
        }
    )


@functools.cache
def _released() -> dict[str, Tensor]:
    torch.manual_seed(0)
    model = QATiger(audio_dim=3, video_dim=5, patch_dim=4, dim=4, num_answers=2, num_experts=2, top_k=1, heads=2)
    return {name: tensor.detach().clone().contiguous() for name, tensor in to_released(model.state_dict()).items()}


def _members(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def _pickle() -> tuple[Files, ...]:
    return ({"data.pkl": next(content for name, content in _members(checkpoint()) if name.endswith("data.pkl"))},)


def _read(folder: Path) -> None:
    path = folder / "best.ckpt"
    try:
        module = load_model(folder)
    finally:
        steps = _steps_done(path)
        assert steps is None or type(steps) is int
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None, "a member with a wrong checksum is taken"
    assert all(isinstance(answer, str) for answer in module.answers)
    assert not module.training
    assert all(not tensor.is_meta for tensor in module.state_dict().values())


def _read_pickle(folder: Path) -> None:
    own = (folder / "data.pkl").read_bytes()
    members = [(name, own if name.endswith("data.pkl") else content) for name, content in _members(checkpoint())]
    (folder / "best.ckpt").write_bytes(packed(members))
    _read(folder)


def _read_released(folder: Path) -> None:
    for path in folder.glob("weights.*"):
        released = read_released(path)
        assert all(bool(tensor.isfinite().all()) for tensor in released.state.values())
        config = released.model_config(None)
        ours, _ = from_released(released.state)
        dims = released.feature_dims
        with torch.device("meta"):
            model = QATiger(
                audio_dim=dims["audio"],
                video_dim=dims["video"],
                patch_dim=dims["patches"],
                question_dim=dims["question"],
                dim=config.dim,
                num_answers=released.num_answers,
                num_experts=config.num_experts,
                top_k=config.top_k,
                heads=1,
            )
        assert {name: tensor.shape for name, tensor in model.state_dict().items()} == {
            name: tensor.shape for name, tensor in ours.items()
        }


def _released_seeds() -> tuple[Files, ...]:
    state = _released()
    return (
        {"weights.pt": saved({"epoch": 3, "state_dict": {f"module.{name}": part for name, part in state.items()}})},
        {"weights.pth": saved(state, legacy=True)},
        {"weights.safetensors": save(state)},
    )


PARSERS = (
    Parser("checkpoint", lambda: ({"best.ckpt": checkpoint()},), {"best.ckpt": (archive_changed,)}, _read),
    Parser("checkpoint-pickle", _pickle, {"data.pkl": (pickle_changed,)}, _read_pickle),
    Parser(
        "released-weights",
        _released_seeds,
        {
            "weights.pt": (archive_changed,),
            "weights.pth": (pickle_changed,),
            "weights.safetensors": (safetensors_changed,),
        },
        _read_released,
    ),
)
