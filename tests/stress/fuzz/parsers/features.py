"""The feature folder: arrays, indexes, and the memory of what was checked."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from examples.avqa.encoders.base import MODALITIES, FeatureDims, Modality
from examples.avqa.feature_faults import clip_faults
from examples.avqa.features import FeatureFolder, IndexRecord, open_features
from tests.stress.fuzz.json_changes import json_changed
from tests.stress.fuzz.judge import unclear
from tests.stress.fuzz.npy_changes import npy_changed
from tests.stress.fuzz.parser import Files, Parser

DIMS = FeatureDims(audio=5, video=4, patches=(2, 3), question=6, words=6)
FOLDERS: dict[Modality, str] = {"audio": "sound", "video": "frames", "patches": "patches"}


def saved(array: npt.NDArray[Any]) -> bytes:
    """The bytes of an .npy file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _seeds() -> tuple[Files, ...]:
    record = IndexRecord("a", "small", 2, 3.2, False, 99, {"audio": [3, 5]})
    numbers = np.linspace(-1, 1, 18)
    ours: dict[str, bytes] = {
        "sound/a.npy": saved(numbers[:15].reshape(3, 5).astype("<f4")),
        "frames/a.npy": saved(numbers[:12].reshape(3, 4).astype("<f2")),
        "patches/a.npy": saved(numbers.reshape(3, 2, 3).astype("<f2")),
        "index/a.json": json.dumps(asdict(record)).encode(),
        "checked.json": json.dumps({"a": [[1, 2], [3, 4], [5, 6]], "b": [[1, 2]]}).encode(),
    }
    others: dict[str, bytes] = {
        "sound/a.npy": saved(numbers[:15].reshape(3, 1, 5)),
        "frames/a.npy": saved(np.asfortranarray(numbers[:12].reshape(3, 4).astype(">f4"))),
        "patches/a.npy": saved(numbers.reshape(1, 3, 2, 3).astype("<f4")),
    }
    return ours, others


def _read(folder: Path) -> None:
    source = open_features(folder, FOLDERS)
    assert isinstance(source, FeatureFolder)
    faults = clip_faults("a", source.headers("a"), DIMS)
    for fault in faults:
        assert unclear(fault.message, folder) in ("", "a message that names no file")
    source.some_record()
    source.complete("a")
    source.check(["a"], DIMS)
    assert not faults, "a clip with faults is taken"
    source.check_values(["a"])
    loaded = source.load("a")
    assert 1 <= loaded.frames <= len(loaded.video)
    for modality, tensor in zip(MODALITIES, loaded[:3], strict=True):
        assert bool(tensor.isfinite().all())
        assert tensor.dtype in (torch.float16, torch.float32)
        # numpy's own reading, which maps nothing and looks at no size first.
        wanted = np.load(folder / FOLDERS[modality] / "a.npy", allow_pickle=False)
        assert np.array_equal(tensor.numpy(), wanted.reshape(tensor.shape).astype(tensor.numpy().dtype))
    cut = FeatureFolder(folder, FOLDERS, frames=1)
    cut.check(["a"], DIMS)
    assert len(cut.load("a").video) == 1


PARSERS = (
    Parser("feature-arrays", _seeds, {f"{name}/a.npy": (npy_changed,) for name in FOLDERS.values()}, _read),
    Parser(
        "feature-index", lambda: _seeds()[:1], {"index/a.json": (json_changed,), "checked.json": (json_changed,)}, _read
    ),
)
