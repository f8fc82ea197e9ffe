"""Released weights of QA-TIGER: a file of tensors under the published names, checked name by name.

A answers, D channels, E experts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from .checkpoint import TEXT_TOWER, to_released
from .config import ModelConfig
from .errors import UserError
from .first_few import first_few
from .model import QATiger
from .torch_file import load_plain

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_PREFIXES = ("module.", "model.", "_orig_mod.")
_PROJECTIONS = {
    "audio": "audio_proj",
    "video": "video_proj",
    "patches": "patch_proj",
    "question": "quest_proj",
    "words": "words_proj",
}
_EXPERT = re.compile(r"at_aggregator\.experts\.(\d+)\.")
_CHOSEN = ("dim", "num_experts", "top_k", "heads", "dropout", "released_expert_order", "feature_noise")
"""What the model section of a config may say of released weights; all else is as published."""


@dataclass(frozen=True)
class Released:
    """The tensors of a released file, all of the published model's and no others."""

    path: Path
    state: Mapping[str, Tensor]
    """Under the published names, without the text tower."""
    text_tensors: int
    """Tensors of the frozen text tower, which were left out."""

    @property
    def dim(self) -> int:
        """D."""
        return self.state["head.weight"].shape[1]

    @property
    def num_answers(self) -> int:
        """A."""
        return self.state["head.weight"].shape[0]

    @property
    def num_experts(self) -> int:
        """E."""
        return _num_experts(self.state)

    @property
    def feature_dims(self) -> dict[str, int]:
        """Channels of audio, video, patches, question and words."""
        return {kind: self.state[f"{name}.proj.weight"].shape[1] for kind, name in _PROJECTIONS.items()}

    def model_config(self, given: ModelConfig | None) -> ModelConfig:
        """The config of this file's model: `given`, or by default 8 heads and every expert in use.

        Raises:
            UserError: `given` has other sizes than the tensors, or a part that the published model has not.
        """
        if given is None:
            return ModelConfig(dim=self.dim, num_experts=self.num_experts, top_k=self.num_experts)
        for name, size in (("dim", self.dim), ("num_experts", self.num_experts)):
            if getattr(given, name) != size:
                raise UserError(f"model.{name} is {getattr(given, name)}, but the tensors in {self.path} have {size}")
        published = replace(ModelConfig(), **{name: getattr(given, name) for name in _CHOSEN})
        for name, value in vars(published).items():
            if getattr(given, name) != value:
                raise UserError(
                    f"model.{name} is {getattr(given, name)!r}, but released weights are of the published model: "
                    f"it wants {value!r}"
                )
        return given


def read_released(path: Path) -> Released:
    """Reads a state dict with the published names, without unpickling anything but tensors.

    Args:
        path: .safetensors, or what `torch.save` wrote: the state dict itself or one nested under "state_dict",
            "model" or "net"; a leading "module." of the names is taken off.

    Raises:
        UserError: the file cannot be read, or names or shapes are not those of the published model.
    """
    state = _without_prefix(_tensors(path))
    text = [name for name in state if name.startswith(TEXT_TOWER)]
    model = {name: tensor for name, tensor in state.items() if not name.startswith(TEXT_TOWER)}
    if empty := [f"{name} {list(tensor.shape)}" for name, tensor in model.items() if not tensor.numel()]:
        raise UserError(f"{path} is no file of released weights: it holds nothing in {', '.join(first_few(empty))}")
    wanted = _published_shapes(model)
    wrong = [
        f"{name} {list(model[name].shape)} in place of {list(shape)}"
        for name, shape in wanted.items()
        if name in model and model[name].shape != shape
    ]
    faults = (
        ("lacks", [name for name in wanted if name not in model]),
        ("holds, which the published model does not,", [name for name in model if name not in wanted]),
        ("has other shapes:", wrong),
        ("holds NaN or infinity in", [name for name, tensor in model.items() if not bool(tensor.isfinite().all())]),
    )
    told = "; ".join(f"{fault} {', '.join(first_few(names))}" for fault, names in faults if names)
    if told:
        raise UserError(f"{path} is no file of released weights: it {told}")
    return Released(path, model, len(text))


def _tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"released_weights: no such file: {path}")
    try:
        loaded: Any = load_file(path) if path.suffix == ".safetensors" else load_plain(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is cut off, or holds objects other than tensors, which are never unpickled; "
            "save its state dict alone with torch.save, or as .safetensors"
        ) from error
    except SafetensorError as error:
        raise UserError(f"{path} is cut off, or no .safetensors file ({error})") from error
    while isinstance(loaded, dict) and (inner := [name for name in _WRAPPERS if isinstance(loaded.get(name), dict)]):
        loaded = loaded[inner[0]]
    if not isinstance(loaded, dict) or not loaded:
        raise UserError(f"{path} holds {type(loaded).__name__}, no state dict; it wants names with tensors")
    if others := [str(name) for name, value in loaded.items() if not isinstance(value, Tensor)]:
        raise UserError(f"{path} is no state dict: no tensors are {', '.join(first_few(others))}")
    return {str(name): tensor for name, tensor in loaded.items()}


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without what DataParallel, Lightning and torch.compile put before every name."""
    while prefix := next((prefix for prefix in _PREFIXES if all(name.startswith(prefix) for name in state)), None):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _published_shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """The names and shapes of the published model in the sizes that these tensors show."""
    head = state.get("head.weight")
    num_answers, dim = head.shape if head is not None and head.dim() == 2 else (42, 512)
    widths = {}
    for kind, name in _PROJECTIONS.items():
        weight = state.get(f"{name}.proj.weight")
        widths[kind] = weight.shape[1] if weight is not None and weight.dim() == 2 else 1
    experts = _num_experts(state) or 7
    with torch.device("meta"):
        # Heads are no part of any shape.
        model = QATiger(
            widths["audio"],
            widths["video"],
            widths["patches"],
            widths["question"],
            dim,
            num_answers,
            experts,
            experts,
            heads=1,
        )
    return {name: tensor.shape for name, tensor in to_released(model.state_dict()).items()}


def _num_experts(state: Mapping[str, Tensor]) -> int:
    return 1 + max((int(match[1]) for name in state if (match := _EXPERT.match(name))), default=-1)
