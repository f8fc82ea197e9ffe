"""`TemporalMoE` that can be saved to a folder or to the Hugging Face Hub, and loaded from there. Extra `hub`."""

from __future__ import annotations

import inspect
import json
import shutil
import stat
import time
from collections import OrderedDict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from . import moe

try:
    from huggingface_hub import ModelCard, PyTorchModelHubMixin, hf_hub_download
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save_file
except ImportError as error:
    raise ImportError(
        'gaussian_moe.hub needs huggingface_hub and safetensors; install them by pip install "gaussian-moe[hub]"'
    ) from error

__all__ = ["PretrainedMixin", "TemporalMoE"]
CONFIG, WEIGHTS, CARD_FILE = "config.json", "model.safetensors", "README.md"
PAPER = "https://arxiv.org/abs/2503.04459"
CARD = """---
{{ card_data }}
---

# {{ name }}

{{ summary }} From *Question-Aware Gaussian Experts for Audio-Visual Question Answering* (CVPR 2025): {{ paper_url }}

```python
from {{ module }} import {{ name }}

model = {{ name }}.from_pretrained("{{ repo_id | default("OWNER/NAME", true) }}")
```

Constructor arguments (`config.json`):

```json
{{ config }}
```

{{ details | default("", true) }}
"""
# Where a model lies and how wide it is follow from the file and from the caller, not from whoever saved it.
_OF_THE_MACHINE = {"device", "dtype"}
_UNFINISHED, _ABANDONED_S = ".saving-", 3600
_LONGEST = 800
"""Characters of what a library below says."""
_M = TypeVar("_M", bound="PretrainedMixin")


class PretrainedMixin(
    nn.Module,
    PyTorchModelHubMixin,
    model_card_template=CARD,
    paper_url=PAPER,
    library_name="gaussian-moe",
    license="mit",
):
    """huggingface_hub's mixin for modules whose constructor takes strings, numbers, bools and None.

    A folder holds config.json (every argument of the constructor but device and dtype), model.safetensors (the state
    dict with its versions) and a model card. What is loaded equals what was saved bit for bit, in its dtypes; it is
    in eval mode and on the CPU unless `map_location` or `device` says otherwise.

    Attributes:
        module_counts: arguments that say how many submodules are made, each with tensors of its own. A config.json that
            names more of them than its file has tensors is refused before they are made.
    """

    module_counts: ClassVar[tuple[str, ...]] = ()

    def __new__(cls: type[_M], *args: Any, **kwargs: Any) -> _M:
        """Notes the arguments of the constructor."""
        instance = super().__new__(cls, *args, **kwargs)
        for name, value in _signature(cls).bind_partial(*args, **kwargs).arguments.items():
            if not cls._is_jsonable(value):
                # The mixin would note the default in its place.
                instance._noted().pop(name, None)
        return instance

    def save_pretrained(self, save_directory: str | Path, *, config: Any = None, **kwargs: Any) -> str | None:
        """Saves into a folder, and with `push_to_hub=True` to the Hub too.

        What was saved there before stays until everything new is written: a full disk loses nothing.

        Raises:
            ValueError: an argument of the constructor that JSON cannot hold.
            OSError: a file cannot be written.
        """
        config = self._arguments() if config is None else config
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        with TemporaryDirectory(prefix=_UNFINISHED, dir=folder) as unfinished:
            card = folder / CARD_FILE
            if card.exists():
                # The mixin leaves a card that is there.
                (Path(unfinished) / CARD_FILE).touch()
            super().save_pretrained(unfinished, config=config, **(kwargs | {"push_to_hub": False}))
            _moved(Path(unfinished), folder, keep_card=card.exists())
        if not kwargs.pop("push_to_hub", False):
            return None
        repo_id = kwargs.pop("repo_id", None) or folder.name
        return self.push_to_hub(repo_id, config=config, **kwargs)

    def push_to_hub(self, repo_id: str, *, model_card_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> str:
        """Saves to the repository `repo_id`, which is made where it does not exist."""
        card = {"repo_id": repo_id, **(model_card_kwargs or {})}
        return super().push_to_hub(repo_id, model_card_kwargs=card, **kwargs)

    @classmethod
    def from_pretrained(cls: type[_M], pretrained_model_name_or_path: str | Path, **kwargs: Any) -> _M:
        """Loads from a folder, or from the Hub.

        Args:
            pretrained_model_name_or_path: a folder, or a repository "OWNER/NAME".
            kwargs: of huggingface_hub (revision, token, cache_dir, force_download, local_files_only); map_location;
                arguments of the constructor, which outweigh the saved ones.

        Raises:
            FileNotFoundError: no such folder, or a file is missing there.
            ValueError: a file that is broken, of another model, or of a newer version of this library.
        """
        folder = Path(pretrained_model_name_or_path)
        if folder.is_dir():
            _check_folder(folder)
        elif folder.is_absolute() or len(folder.parts) > 2 or str(pretrained_model_name_or_path).startswith((".", "~")):
            raise FileNotFoundError(f"{folder} is no folder, nor a repository OWNER/NAME")
        return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """The model card: what it is, how to load it, its arguments, its paper, its licence."""
        about = {
            "name": type(self).__name__,
            "module": type(self).__module__,
            "summary": (inspect.getdoc(type(self)) or "").partition("\n\n")[0],
            "config": json.dumps(self._arguments(), indent=2),
        }
        return super().generate_model_card(*args, **{**about, **kwargs})

    def _arguments(self) -> dict[str, Any]:
        given = self._noted()
        names = [name for name in _parameters(type(self)) if name not in _OF_THE_MACHINE]
        if lost := [name for name in names if name not in given]:
            raise ValueError(f"config.json cannot hold {', '.join(lost)}: give strings, numbers, bools or None")
        return {name: given[name] for name in names}

    def _noted(self) -> dict[str, Any]:
        noted = self._hub_mixin_config
        assert isinstance(noted, dict)
        return noted

    def _save_pretrained(self, save_directory: Path) -> None:
        state = self.state_dict()
        versions = {name: value["version"] for name, value in state._metadata.items() if "version" in value}  # type: ignore[attr-defined]
        tensors = {name: tensor.detach().contiguous() for name, tensor in state.items()}
        path = save_directory / WEIGHTS
        # As any other file: safetensors makes one that no other user may read.
        path.touch()
        mode = stat.S_IMODE(path.stat().st_mode)
        try:
            save_file(tensors, path, metadata={"format": "pt", "versions": json.dumps(versions)})
            path.chmod(mode)
        except SafetensorError as error:
            raise OSError(f"{WEIGHTS} cannot be written into {save_directory.parent}: {error}") from error

    @classmethod
    def _from_pretrained(
        cls: type[_M],
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        map_location: str | torch.device = "cpu",
        strict: bool = True,
        config: dict[str, Any] | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        **model_kwargs: Any,
    ) -> _M:
        known = _parameters(cls)
        if config is None:
            raise FileNotFoundError(f"{model_id} holds no {CONFIG}")
        if unknown := sorted(set(config) - set(known)):
            told = _printable(", ".join(unknown)[:_LONGEST])
            raise ValueError(
                f"{CONFIG} of {model_id} holds {told}, which {cls.__name__} does not take: "
                f"it is of another model, or of a newer gaussian-moe"
            )
        needed = [name for name, parameter in known.items() if parameter.default is parameter.empty]
        if missing := [name for name in needed if name not in model_kwargs]:
            raise ValueError(f"{CONFIG} of {model_id} lacks {', '.join(missing)}")
        file = str(Path(model_id) / WEIGHTS)
        if not Path(model_id).is_dir():
            file = hf_hub_download(
                repo_id=model_id,
                filename=WEIGHTS,
                revision=revision,
                cache_dir=cache_dir,
                force_download=force_download,
                token=token,
                local_files_only=local_files_only,
            )
        arguments = {name: value for name, value in model_kwargs.items() if name not in _OF_THE_MACHINE}
        state = _read(file)
        for name in cls.module_counts:
            value = config.get(name)
            # What the caller gave in its place may be anything.
            if isinstance(value, int) and value == arguments.get(name) and value > len(state):
                raise ValueError(
                    f"{CONFIG} of {model_id} describes no {cls.__name__}: {name} is larger than {len(state)}, the "
                    f"number of tensors in {WEIGHTS}"
                )
        try:
            # First without memory: the sizes that config.json tells may be any, those of the tensors are there.
            with torch.device("meta"):
                empty = cls(**arguments)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise ValueError(f"{CONFIG} of {model_id} describes no {cls.__name__}: {_said(error)}") from error
        try:
            empty.load_state_dict(state, strict=strict, assign=True)
            model = cls(**arguments)
            # The tensors themselves become the parameters, so that each keeps its dtype.
            model.load_state_dict(state, strict=strict, assign=True)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{WEIGHTS} of {model_id} does not fit {cls.__name__}: {_said(error)}") from error
        return model.to(device=map_location if device is None else device, dtype=dtype).eval()


def _sweep(folder: Path) -> None:
    """Removes what killed processes left; what is young may be another process's at this moment."""
    for left in folder.glob(f"{_UNFINISHED}*"):
        if time.time() - left.stat().st_mtime > _ABANDONED_S:
            shutil.rmtree(left, ignore_errors=True)


def _moved(unfinished: Path, folder: Path, keep_card: bool) -> None:
    """Puts what is whole in its place. Weights never stand beside another model's arguments."""
    config, old = unfinished / CONFIG, folder / CONFIG
    if old.exists() and old.read_bytes() != config.read_bytes():
        old.unlink()
    (unfinished / WEIGHTS).replace(folder / WEIGHTS)
    config.replace(old)
    if not keep_card:
        (unfinished / CARD_FILE).replace(folder / CARD_FILE)


def _signature(cls: type[object]) -> inspect.Signature:
    """Of the constructor, whatever `__new__` takes: Python before 3.11.4 would give that one's for the class."""
    whole = inspect.signature(cls.__init__)
    return whole.replace(parameters=list(whole.parameters.values())[1:])


def _parameters(cls: type[object]) -> dict[str, inspect.Parameter]:
    """The constructor's arguments, by name."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = _signature(cls).parameters
    return {name: parameter for name, parameter in found.items() if parameter.kind in named}


def _said(error: Exception) -> str:
    """What an error says, as one line that can be printed: files may hold names of any length and letters."""
    return _printable(" ".join(str(error).split())[:_LONGEST])


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _check_folder(folder: Path) -> None:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} holds no {name}; save_pretrained writes {CONFIG} and {WEIGHTS}")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{folder / CONFIG} is no JSON: {_said(error)}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{folder / CONFIG} must hold a JSON object of constructor arguments, got {config!r:.100}")


def _read(file: str) -> OrderedDict[str, Tensor]:
    """A state dict with its versions, as `Module.state_dict` gives it."""
    try:
        with safe_open(file, framework="pt") as opened:
            versions = json.loads((opened.metadata() or {}).get("versions", "{}"))
            state = OrderedDict((name, opened.get_tensor(name)) for name in opened.keys())  # noqa: SIM118  # no mapping
        if not isinstance(versions, dict) or not all(type(version) is int for version in versions.values()):
            raise ValueError("its versions are no whole numbers by name")
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"{file} is no safetensors file of this library: {_said(error)}") from error
    state._metadata = {name: {"version": version} for name, version in versions.items()}  # type: ignore[attr-defined]
    return state


class TemporalMoE(moe.TemporalMoE, PretrainedMixin, tags=["video-question-answering", "mixture-of-experts"]):
    """Question-aware Gaussian mixture of experts over time: pools a clip's frames as a question asks.

    `gaussian_moe.TemporalMoE` with `save_pretrained`, `from_pretrained` and `push_to_hub`; arguments, results and state
    dict are the same.

    Examples:
        >>> import tempfile, torch
        >>> from gaussian_moe.hub import TemporalMoE
        >>> moe = TemporalMoE(dim=16, num_experts=7, top_k=3, heads=4).eval()
        >>> question, frames = torch.randn(2, 16), torch.randn(2, 60, 16)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = moe.save_pretrained(folder)
        ...     same = TemporalMoE.from_pretrained(folder)
        >>> torch.equal(same(question, frames), moe(question, frames))
        True
    """

    module_counts = ("num_streams",)
