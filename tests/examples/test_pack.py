"""Packing: what a store holds is what the folder held, to half precision, however often it was stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from examples.avqa import pack as pack_module
from examples.avqa.encoders import MODALITIES, load_encoders
from examples.avqa.errors import UserError
from examples.avqa.features import FeatureFolder
from examples.avqa.locks import LOCK
from examples.avqa.pack import pack
from examples.avqa.store import FeatureStore, is_store
from tests.examples.killing import digests
from tests.examples.tiny_run import TinyData, write_features


@pytest.fixture
def features(own: TinyData) -> Path:
    """The feature folder of nine videos."""
    return own.root / "features"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where the store goes."""
    return tmp_path / "store"


def _ids(features: Path) -> list[str]:
    return sorted(path.stem for path in (features / "logmel").glob("*.npy"))


def _assert_holds(store: Path, features: Path) -> None:
    source, packed = FeatureFolder(features, load_encoders("small").folders), FeatureStore(store)
    assert list(packed.index.clips) == _ids(features)
    for video_id in _ids(features):
        one, other = source.load(video_id), packed.load(video_id)
        assert one.frames == other.frames
        for here, there in zip(one[:3], other[:3], strict=True):
            assert torch.equal(here, there)


def test_a_store_holds_what_the_folder_held(features: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack(features, out)
    _assert_holds(out, features)
    assert set(digests(out)) == {"features.bin", "store.json"}
    assert "9 videos" in capsys.readouterr().out


def test_padding_and_the_first_frames_are_kept(own: TinyData, features: Path, out: Path) -> None:
    write_features(own, "short", frames=4, seed=1, real=2)
    pack(features, out, frames=3)
    short = FeatureStore(out).load("short")
    assert (len(short.video), short.frames) == (3, 2)
    whole = own.folder.load("short")
    assert torch.equal(short.patches, whole.patches[:3])
    assert FeatureStore(out, frames=1).load("short").frames == 1


def test_single_precision_becomes_the_nearest_half(features: Path, out: Path) -> None:
    path = features / "frame_efficientnet_lite0/val_0.npy"
    array = np.random.default_rng(0).normal(size=np.load(path).shape).astype(np.float32)
    np.save(path, array)
    pack(features, out)
    loaded = FeatureStore(out).load("val_0")
    assert np.array_equal(loaded.video.numpy(), array.astype(np.float16))
    # Statistics of log-mel sound stay in single precision.
    assert loaded.audio.dtype == torch.float32


def test_a_number_too_large_for_half_precision_is_named(features: Path, out: Path) -> None:
    path = features / "frame_efficientnet_lite0/val_0.npy"
    array = np.load(path).astype(np.float32)
    array[1, 3] = -70000
    np.save(path, array)
    with pytest.raises(UserError, match=r"val_0\.npy: holds 70000, and half precision ends at 65504.*skip_broken"):
        pack(features, out)
    # What came before is kept, and is no store.
    with pytest.raises(UserError, match="unfinished store; give the same pack command again"):
        FeatureStore(out)


def test_numbers_that_are_none_are_named(features: Path, out: Path) -> None:
    path = features / "logmel/val_0.npy"
    np.save(path, np.full_like(np.load(path), np.nan))
    with pytest.raises(UserError, match=r"logmel/val_0\.npy: holds NaN"):
        pack(features, out)


def _cut_off(features: Path) -> None:
    path = features / "logmel/val_0.npy"
    path.write_bytes(path.read_bytes()[:-8])


def _nan(features: Path) -> None:
    path = features / "logmel/val_0.npy"
    np.save(path, np.full_like(np.load(path), np.nan))


def _gone(features: Path) -> None:
    (features / "logmel/val_0.npy").unlink()


@pytest.mark.parametrize("spoil", [_cut_off, _nan, _gone])
def test_broken_videos_are_left_out_where_it_is_asked(
    features: Path, out: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None]
) -> None:
    spoil(features)
    with pytest.raises(UserError, match=r"val_0.*skip_broken leaves such videos out"):
        pack(features, out)
    pack(features, out, skip_broken=True)
    assert "left out 1 videos" in capsys.readouterr().err
    store = FeatureStore(out)
    assert len(store.index.clips) == 8
    with pytest.raises(UserError, match=r"holds no video val_0 \(left out"):
        store.load("val_0")
    with pytest.raises(UserError, match="audio of val_0: left out when it was packed"):
        store.check(["val_0", "val_1"], load_encoders("small").dims)


def test_a_folder_of_broken_videos_makes_no_store(features: Path, out: Path) -> None:
    shutil.rmtree(features / "logmel")
    with pytest.raises(UserError, match="no video can be packed"):
        pack(features, out, skip_broken=True)
    assert not out.exists()
    (features / "nothing").mkdir()
    with pytest.raises(UserError, match="no videos in"):
        pack(features, out, folders=dict.fromkeys(MODALITIES, "nothing"))


def test_the_same_command_again_changes_nothing(features: Path, out: Path) -> None:
    pack(features, out)
    before = digests(out)
    # As if killed between its last two steps.
    settings = json.loads((out / "store.json").read_text())["settings"]
    (out / "packing.jsonl").write_text(json.dumps(settings) + "\n")
    (out / LOCK).touch()
    pack(features, out)
    assert digests(out) == before


def test_a_store_of_other_features_or_settings_is_not_overwritten(own: TinyData, features: Path, out: Path) -> None:
    pack(features, out)
    with pytest.raises(UserError, match="other settings"):
        pack(features, out, frames=2)
    write_features(own, "val_0", frames=3, seed=99)
    with pytest.raises(UserError, match="packed before the features changed"):
        pack(features, out)


class _Stop(Exception):
    """Stands for a kill."""


def _stop_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Ends packing in the middle of writing clip `number`, half of it written."""
    write: Callable[..., None] = pack_module._write
    calls: list[int] = []

    def failing(descriptor: int, data: bytearray, offset: int) -> None:
        calls.append(offset)
        if len(calls) == number:
            write(descriptor, data[: len(data) // 2], offset)
            raise _Stop
        write(descriptor, data, offset)

    monkeypatch.setattr(pack_module, "_write", failing)


@pytest.mark.parametrize("damage", ["nothing", "bytes", "journal cut", "journal line", "source"])
def test_stopped_packing_goes_on_to_the_same_bytes(
    own: TinyData, features: Path, out: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    with monkeypatch.context() as patch:
        _stop_at(patch, 6)
        with pytest.raises(_Stop):
            pack(features, out)
    assert is_store(out)
    assert not (out / "store.json").exists()
    journal = out / "packing.jsonl"
    if damage == "bytes":
        with (out / "features.bin").open("r+b") as file:
            file.seek(70000)
            file.write(b"other")
    elif damage == "journal cut":
        journal.write_bytes(journal.read_bytes()[:-9])
    elif damage == "journal line":
        lines = journal.read_text().splitlines()
        journal.write_text("\n".join([*lines[:3], "{}", *lines[3:], ""]))
    elif damage == "source":
        write_features(own, "test_1", frames=4, seed=77)
    written = _count_writes(monkeypatch)
    pack(features, out)
    again = out.with_name("again")
    after = len(written)
    pack(features, again)
    assert digests(out) == digests(again)
    _assert_holds(out, features)
    # Five clips were done.
    assert after == {"nothing": 4, "bytes": 8, "journal cut": 5, "journal line": 7, "source": 8}[damage]


def _count_writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    write: Callable[..., None] = pack_module._write
    written: list[int] = []

    def counting(descriptor: int, data: bytearray, offset: int) -> None:
        written.append(offset)
        write(descriptor, data, offset)

    monkeypatch.setattr(pack_module, "_write", counting)
    return written


def test_unfinished_packing_goes_on_with_its_settings_only(
    features: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _stop_at(patch, 3)
        with pytest.raises(_Stop):
            pack(features, out)
    with pytest.raises(UserError, match="unfinished packing with other settings"):
        pack(features, out, frames=2)


def test_a_full_disk_is_told_before_anything_is_written(
    features: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
    with pytest.raises(UserError, match=r"takes 0\.00 GB, and 0\.00 GB are free"):
        pack(features, out)
    assert not out.exists()


@pytest.mark.parametrize("name", ["features.bin", "packing.jsonl"])
def test_nothing_is_written_through_a_link(features: Path, out: Path, tmp_path: Path, name: str) -> None:
    """A store from elsewhere may hold one that leads to a file of the user's."""
    mine = tmp_path / "mine"
    mine.write_text("mine")
    out.mkdir()
    (out / "packing.jsonl").write_text("")
    (out / name).unlink(missing_ok=True)
    (out / name).symlink_to(mine)
    with pytest.raises(UserError, match=rf"{name} is a link; delete"):
        pack(features, out)
    assert mine.read_text() == "mine"


def test_out_is_nothing_else(features: Path, out: Path, own: TinyData) -> None:
    with pytest.raises(UserError, match="not empty and holds no store"):
        pack(features, own.root)
    with pytest.raises(UserError, match="is a file"):
        pack(features, own.root / "train.json")
    pack(features, out)
    with pytest.raises(UserError, match="no feature folder"):
        pack(out, out.with_name("other"))
    with pytest.raises(UserError, match="unknown modality sound; known are audio, video, patches"):
        pack(features, out.with_name("other"), folders={"sound": "vggish"})
