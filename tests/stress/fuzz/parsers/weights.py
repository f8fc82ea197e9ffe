"""Weights of encoders, encoded questions, and folders of the Hugging Face Hub's kind."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from examples.avqa.encoders.base import EncodedText, FeatureDims
from examples.avqa.encoders.merging_vit import MergingViT, ViTSize
from examples.avqa.encoders.vggish import VGGish, VGGishSize, load_vggish
from examples.avqa.encoders.vit_weights import load_vit, merges_of
from examples.avqa.question_store import QuestionStore
from gaussian_moe.hub import TemporalMoE
from tests.stress.fuzz.archive_changes import archive_changed
from tests.stress.fuzz.json_changes import json_changed
from tests.stress.fuzz.parser import Files, Parser
from tests.stress.fuzz.pickle_changes import pickle_changed
from tests.stress.fuzz.safetensors_changes import safetensors_changed

from .checkpoints import saved

_DIMS = FeatureDims(audio=5, video=4, patches=(2, 3), question=6, words=6)
_TEXTS = ("Is there a flute sound", "Where is it")


class _Encoders:
    """Only what a store of questions asks for; nothing is encoded."""

    name, dims, words_dtype, weights_at_hand = "small", _DIMS, torch.float32, True

    def weights_id(self, purpose: str) -> str:
        return "w"

    def encode_text(self, texts: Sequence[str]) -> EncodedText:
        generator = torch.Generator().manual_seed(1)
        mask = torch.zeros(len(texts), 3, dtype=torch.bool)
        return EncodedText(
            torch.randn(len(texts), 6, generator=generator), torch.randn(len(texts), 3, 6, generator=generator), mask
        )


@functools.cache
def _encoders() -> tuple[Files, ...]:
    torch.manual_seed(0)
    size = ViTSize(picture=32, patch=16, dim=64, depth=2, heads=1, mlp=8)
    vit = MergingViT(size, merges_of(size)).state_dict()
    vggish = VGGish(VGGishSize((1, 1, 1, 1, 1, 1), 2, 3)).state_dict()
    return (
        {"vit.safetensors": save(vit)},
        {"vit.pth": saved(vit)},
        {"vggish.pth": saved(vggish, legacy=True)},
        {"vggish.pt": saved(vggish)},
    )


def _read_encoder(folder: Path) -> None:
    (path,) = folder.iterdir()
    loaded = load_vit(path) if path.stem == "vit" else load_vggish(path)
    assert not any(tensor.is_meta for tensor in loaded.state_dict().values())


@functools.cache
def _questions() -> tuple[Files, ...]:
    with tempfile.TemporaryDirectory() as made:
        encoders: Any = _Encoders()
        QuestionStore(encoders, Path(made)).add(_TEXTS)
        (path,) = Path(made).iterdir()
        return ({"part.safetensors": path.read_bytes()},)


def _read_questions(folder: Path) -> None:
    encoders: Any = _Encoders()
    store = QuestionStore(encoders, folder)
    known = [text for text in _TEXTS if text in store._rows]
    taken = store.take(store.rows(known))
    assert taken.question.shape == (len(known), 6)
    assert taken.words.shape[0] == len(known)
    assert taken.padding_mask.dtype == torch.bool
    assert all(isinstance(text, str) for text in store._rows)
    store.sentences(store.rows(known))
    store.add(_TEXTS)
    assert store.take(store.rows(_TEXTS)).question.dtype == torch.float32


@functools.cache
def _hub() -> tuple[Files, ...]:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as made:
        TemporalMoE(4, 3, top_k=2, heads=2, hidden_dim=2).save_pretrained(made)
        return ({name: (Path(made) / name).read_bytes() for name in ("config.json", "model.safetensors")},)


def _read_hub(folder: Path) -> None:
    moe = TemporalMoE.from_pretrained(folder)
    assert not any(tensor.is_meta for tensor in moe.state_dict().values())
    assert json.loads((folder / "config.json").read_bytes())["dim"] == 4


PARSERS = (
    Parser(
        "encoder-weights",
        _encoders,
        {
            "vit.safetensors": (safetensors_changed,),
            "vit.pth": (archive_changed,),
            "vggish.pth": (pickle_changed,),
            "vggish.pt": (archive_changed,),
        },
        _read_encoder,
    ),
    Parser("encoded-questions", _questions, {"part.safetensors": (safetensors_changed,)}, _read_questions),
    Parser(
        "hub-folder",
        _hub,
        {"config.json": (json_changed,), "model.safetensors": (safetensors_changed,)},
        _read_hub,
        refusals=(ValueError, FileNotFoundError),
    ),
)
