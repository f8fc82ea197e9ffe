"""Where the weights of the preset `paper` are: in a local folder, or on the hub."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from ..errors import UserError

Part = Literal["clip", "vit", "vggish"]

CLIP_REPOSITORY = "openai/clip-vit-large-patch14-336"
VIT_REPOSITORY = "timm/vit_large_patch16_384.augreg_in21k_ft_in1k"
VGGISH_URL = "https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth"

_CONFIG = "config.json"
# In the order of preference: safetensors hold nothing but numbers.
_HUB_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"))
_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")
_BLOCK = 1 << 16
_BLOCKS = 64


class _Source(NamedTuple):
    """Where one part comes from, in words."""

    holds: str
    """What its folder must hold."""
    address: str


_SOURCES: Mapping[Part, _Source] = {
    "clip": _Source(
        "config.json, model.safetensors or pytorch_model.bin, and tokenizer.json or vocab.json with merges.txt",
        f"https://huggingface.co/{CLIP_REPOSITORY}",
    ),
    "vit": _Source("model.safetensors, or one .bin or .pth file", f"https://huggingface.co/{VIT_REPOSITORY}"),
    "vggish": _Source("one .pth file, vggish-10086976.pth", VGGISH_URL),
}


def find_weights(folder: Path | None, parts: Sequence[Part]) -> dict[Part, list[Path]]:
    """The files of each part, the one with the weights first; without a folder they come from the hub's cache or net.

    Raises:
        UserError: there is no such folder, or files are missing or cannot be had; all of them are named.
    """
    if folder is not None and not folder.is_dir():
        raise UserError(f"weights: no such folder: {folder}")
    found: dict[Part, list[Path]] = {}
    missing: list[str] = []
    for part in parts:
        try:
            found[part] = _downloaded(part) if folder is None else _local(folder / part)
        except _MissingError as error:
            place = f"{folder}/{part}/" if folder else f"{part}/"
            missing.append(f"{place}: {error}; it must hold {_SOURCES[part].holds}, from {_SOURCES[part].address}")
    if missing:
        start = "weights: missing " if folder else "weights: not to be had from the hub; give --weights FOLDER with "
        raise UserError(start + " | ".join(missing))
    return found


def fingerprint(files: Iterable[Path]) -> str:
    """Tells weights from others by their files' sizes and 4 MB of each, spread over it: whole files take too long.

    Other weights differ everywhere, so that they differ in what is looked at.
    """
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(str(size).encode())
        with path.open("rb") as file:
            for number in range(_BLOCKS):
                file.seek(max(size - _BLOCK, 0) * number // (_BLOCKS - 1))
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()[:16]


class _MissingError(Exception):
    """What is missing of one part."""


def _local(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise _MissingError("no such folder")
    clip = folder.name == "clip"
    weights = [folder / name for name in _HUB_WEIGHTS if (folder / name).is_file()][:1]
    if not weights and not clip:
        weights = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES)
    if len(weights) != 1:
        named = ", ".join(path.name for path in weights)
        raise _MissingError(f"more than one file of weights ({named})" if weights else "no file of weights")
    if not clip:
        return weights
    config = folder / _CONFIG
    tokenizers = [[folder / name for name in names] for names in _TOKENIZERS]
    tokenizer = next((files for files in tokenizers if all(file.is_file() for file in files)), None)
    if tokenizer is None or not config.is_file():
        raise _MissingError("no tokenizer" if tokenizer is None else f"no {_CONFIG}")
    return [*weights, config, *tokenizer]


def _downloaded(part: Part) -> list[Path]:
    try:
        return _DOWNLOADS[part]()
    # Every layer below has faults of its own kind; what the user can do is the same.
    except Exception as error:
        raise _MissingError(next(iter(str(error).splitlines()), type(error).__name__)) from error


def _clip() -> list[Path]:
    return [_weights_of(CLIP_REPOSITORY), *(_of(CLIP_REPOSITORY, name) for name in (_CONFIG, *_TOKENIZERS[1]))]


def _vit() -> list[Path]:
    return [_weights_of(VIT_REPOSITORY)]


def _vggish() -> list[Path]:
    cached = Path(torch.hub.get_dir()) / "checkpoints" / VGGISH_URL.rpartition("/")[2]
    if not cached.is_file():
        cached.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(VGGISH_URL, str(cached))
    return [cached]


_DOWNLOADS: Mapping[Part, Callable[[], list[Path]]] = {"clip": _clip, "vit": _vit, "vggish": _vggish}


def _weights_of(repository: str) -> Path:
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return _of(repository, _HUB_WEIGHTS[0])
    except EntryNotFoundError:
        return _of(repository, _HUB_WEIGHTS[1])


def _of(repository: str, name: str) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(repository, name))
