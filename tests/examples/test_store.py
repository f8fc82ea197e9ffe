"""Reading a store: broken ones are named, processes share it, and a run on it equals one on the folder."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from examples.avqa.encoders import load_encoders
from examples.avqa.errors import UserError
from examples.avqa.features import open_features
from examples.avqa.files import write_json
from examples.avqa.pack import pack
from examples.avqa.prepare import prepare
from examples.avqa.store import FeatureStore
from tests.examples.tiny_run import TinyData, train_tiny


@pytest.fixture
def store(own: TinyData, tmp_path: Path) -> Path:
    """A store of the tiny features."""
    pack(own.root / "features", tmp_path / "store")
    return tmp_path / "store"


def test_an_unknown_video_is_named(store: Path) -> None:
    with pytest.raises(UserError, match="holds no video nobody; pack them"):
        FeatureStore(store).load("nobody")
    with pytest.raises(UserError, match="audio of nobody: missing"):
        FeatureStore(store).check(["nobody"], load_encoders("small").dims)


def test_features_of_another_encoder_are_refused(store: Path) -> None:
    with pytest.raises(UserError, match=r"audio of val_0: shape \[3, 256\], expected \[T, 128\]"):
        FeatureStore(store).check(["val_0"], load_encoders("paper").dims)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "is of format 2, this program reads 1"),
        ({"bytes": 1}, "no index of a packed store"),
        ({"clips": {"a": {"offset": -4096, "frames": 1, "real": 1, "crc32": 0}}}, "no index of a packed store"),
        ({"clips": {"a": {"offset": 0, "frames": 1, "real": 2, "crc32": 0}}}, "no index of a packed store"),
        ({"clips": {"a": {"offset": 0, "frames": "1", "real": 1, "crc32": 0}}}, "no index of a packed store"),
        ({"clips": []}, "no index of a packed store"),
        ({"modalities": {}}, "no index of a packed store"),
        ({"modalities": {"audio": {"dtype": "object", "shape": [1]}}}, "no index of a packed store"),
    ],
)
def test_a_broken_index_is_told(store: Path, change: dict[str, Any], message: str) -> None:
    value = json.loads((store / "store.json").read_text())
    write_json(store / "store.json", value | change)
    with pytest.raises(UserError, match=message):
        FeatureStore(store)


def test_text_that_is_no_index_is_told(store: Path) -> None:
    (store / "store.json").write_text("{")
    with pytest.raises(UserError, match="no index of a packed store"):
        FeatureStore(store)


def test_data_that_is_cut_off_is_told(store: Path) -> None:
    with (store / "features.bin").open("r+b") as file:
        file.truncate(100_000)
    with pytest.raises(UserError, match=r"features\.bin has 100000 bytes, its index tells"):
        FeatureStore(store)
    (store / "features.bin").unlink()
    with pytest.raises(UserError, match=r"features\.bin has 0 bytes"):
        FeatureStore(store)


def test_data_that_is_emptied_or_removed_before_it_is_read_is_told(store: Path) -> None:
    emptied, removed = FeatureStore(store), FeatureStore(store)
    (store / "features.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"features\.bin was removed or emptied"):
        emptied.load("val_0")
    (store / "features.bin").unlink()
    with pytest.raises(UserError, match=r"features\.bin was removed or emptied"):
        removed.load("val_0")


def test_data_that_is_cut_off_while_it_is_read_is_told(store: Path) -> None:
    # Reading on would end this process without a word.
    opened = FeatureStore(store)
    opened.load("val_0")
    path = store / "features.bin"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    with pytest.raises(UserError, match="was cut off while it was read"):
        opened.load("val_0")
    with pytest.raises(UserError, match="was cut off while it was read"):
        opened.value_fault("val_0")


def test_changed_bytes_are_found_by_their_checksum(store: Path) -> None:
    opened = FeatureStore(store)
    assert opened.value_fault("val_0") is None
    with (store / "features.bin").open("r+b") as file:
        file.seek(opened.index.clips["val_0"].offset + 8)
        file.write(b"other")
    fault = FeatureStore(store).value_fault("val_0")
    assert fault is not None
    assert "val_0 is not what was packed" in fault.message


def test_another_process_maps_the_file_anew(store: Path) -> None:
    opened = FeatureStore(store)
    before = opened.load("val_1")
    assert len(pickle.dumps(opened)) < 20_000
    after = pickle.loads(pickle.dumps(opened)).load("val_1")
    assert torch.equal(before.patches, after.patches)


def test_nothing_is_said_of_memory_that_may_not_be_written(store: Path, recwarn: pytest.WarningsRecorder) -> None:
    torch.set_warn_always(True)
    try:
        for _ in range(2):
            FeatureStore(store).load("val_1")
    finally:
        torch.set_warn_always(False)
    assert not recwarn.list


def test_folder_and_store_give_the_same_batches_and_samples(own: TinyData, store: Path) -> None:
    folder, packed = prepare(own.config), prepare(replace(own.config, features=store))
    loaders = [data.loader("train", 3, 2, shuffle=True, seed=3) for data in (folder, packed)]
    for one, other in zip(*loaders, strict=True):
        for here, there in zip(one, other, strict=True):
            assert here is there is None or torch.equal(here, there)
    samples = folder.samples("train", 1), packed.samples("train", 1)
    assert all(torch.equal(samples[0][name], samples[1][name]) for name in samples[0])
    assert all(sample.dtype == torch.float32 for sample in samples[1].values())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_on_a_store_equals_a_run_on_the_folder(
    own: TinyData, tiny_run: Path, store: Path, tmp_path: Path, workers: int
) -> None:
    """Whoever reads the batches: neither order nor dropout depends on it."""
    run = train_tiny(own, tmp_path / "run", data=replace(own.config, features=store, workers=workers))
    assert (run / "metrics.csv").read_bytes() == (tiny_run / "metrics.csv").read_bytes()


def test_open_features_takes_either(own: TinyData, store: Path, tmp_path: Path) -> None:
    folders = load_encoders("small").folders
    for path in (store, own.root / "features"):
        assert open_features(path, folders, frames=2).load("val_0").video.shape == (2, 1280)
        with pytest.raises(UserError, match="frames must be at least 1, got 0"):
            open_features(path, folders, frames=0)
    with pytest.raises(UserError, match="no such folder"):
        open_features(tmp_path / "nothing", folders)


def test_a_store_takes_half_the_room(own: TinyData, tmp_path: Path) -> None:
    for path in (own.root / "features").glob("*/*.npy"):
        np.save(path, np.load(path).astype(np.float32))
    pack(own.root / "features", tmp_path / "half")
    before = sum(path.stat().st_size for path in (own.root / "features").glob("*/*.npy"))
    # Sound stays in single precision, and clips are filled up to whole pages.
    assert (tmp_path / "half/features.bin").stat().st_size < 0.6 * before
