"""The feature folder gives back what was written, and names what is broken."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from examples.avqa.encoders import FeatureDims, Modality
from examples.avqa.errors import UserError
from examples.avqa.features import FeatureFolder, IndexRecord, VideoFeatures, renamed

FOLDERS: dict[Modality, str] = {"audio": "vggish", "video": "frame_ViT-L14@336px", "patches": "visual_tome14"}
DIMS = FeatureDims(audio=5, video=4, patches=(2, 3), question=6, words=6)


def _record(video_id: str, frames: int) -> IndexRecord:
    return IndexRecord(video_id, "small", frames, duration=frames + 0.2, silent=False, source_bytes=99, shapes={})


def _features(frames: int = 3) -> dict[Modality, Tensor]:
    generator = torch.Generator().manual_seed(frames)
    shapes: dict[Modality, tuple[int, ...]] = {"audio": (5,), "video": (4,), "patches": (2, 3)}
    return {modality: torch.randn(frames, *shape, generator=generator) for modality, shape in shapes.items()}


@pytest.fixture
def folder(tmp_path: Path) -> FeatureFolder:
    """Features of the videos a and b."""
    folder = FeatureFolder(tmp_path, FOLDERS)
    folder.save(_features(3), _record("a", 3))
    folder.save(_features(4), _record("b", 4))
    return folder


def _overwrite(folder: FeatureFolder, modality: Modality, array: np.ndarray[Any, Any]) -> Path:
    path = folder.path("a", modality)
    np.save(path, array)
    return path


def test_what_was_saved_is_loaded(folder: FeatureFolder) -> None:
    loaded, saved = folder.load("a"), _features(3)
    assert torch.equal(loaded.audio, saved["audio"])
    assert torch.equal(loaded.video, saved["video"].half().float())
    assert torch.equal(loaded.patches, saved["patches"].half().float())
    assert loaded.frames == 3
    assert folder.complete("a") == _record("a", 3)
    folder.check(["a", "b"], DIMS)


def test_folders_of_others_have_no_index(folder: FeatureFolder) -> None:
    (folder.root / "index" / "a.json").unlink()
    _overwrite(folder, "audio", np.ones((3, 5)))
    loaded = folder.load("a")
    assert loaded.frames == 3
    assert loaded.audio.dtype == torch.float32
    assert torch.equal(loaded.audio, torch.ones(3, 5))
    assert folder.complete("a") is None
    folder.check(["a"], DIMS)


def test_the_index_tells_padding(folder: FeatureFolder) -> None:
    folder.save(_features(6), _record("a", 4))
    loaded = folder.load("a")
    assert loaded.video.shape == (6, 4)
    assert loaded.frames == 4


def test_an_interrupted_save_leaves_no_index(folder: FeatureFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, array: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("examples.avqa.features.write_array", fail)
    with pytest.raises(KeyboardInterrupt):
        folder.save(_features(4), _record("a", 4))
    assert folder.index("a") is None


def test_a_deleted_file_is_not_complete(folder: FeatureFolder) -> None:
    folder.path("a", "video").unlink()
    assert folder.complete("a") is None
    with pytest.raises(UserError, match=r"a\.npy: missing"):
        folder.load("a")


def test_check_names_every_kind_of_fault(folder: FeatureFolder) -> None:
    _overwrite(folder, "audio", np.ones((3, 7), dtype=np.float32))
    with pytest.raises(UserError, match=r"vggish/a\.npy: shape \[3, 7\], expected \[T, 5\]"):
        folder.check(["a", "b"], DIMS)
    _overwrite(folder, "audio", np.ones((3, 5), dtype=np.int64))
    with pytest.raises(UserError, match="dtype int64"):
        folder.check(["a"], DIMS)
    _overwrite(folder, "audio", np.ones((2, 5), dtype=np.float32))
    with pytest.raises(UserError, match="a: different numbers of frames: 2 audio, 3 video, 3 patches"):
        folder.check(["a"], DIMS)
    path = _overwrite(folder, "audio", np.ones((3, 5), dtype=np.float32))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"vggish/a\.npy: truncated"):
        folder.check(["a"], DIMS)
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"vggish/a\.npy: truncated"):
        folder.check(["a"], DIMS)
    path.unlink()
    with pytest.raises(UserError, match=r"vggish/a\.npy: missing"):
        folder.check(["a"], DIMS)


def test_check_counts_what_it_does_not_name(folder: FeatureFolder) -> None:
    with pytest.raises(UserError, match=r"; \.\.\. and 13 more;") as error:
        folder.check([f"v{i}" for i in range(6)], DIMS)
    assert str(error.value).count("missing") == 5


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_folders_of_others_are_read_as_they_are(tmp_path: Path, dtype: Any, axis: int) -> None:
    """Any precision; an axis of one entry too many; as many frames of each modality as are wanted."""
    folder = FeatureFolder(tmp_path, {"audio": "vggish", "video": "clip", "patches": "tome"}, frames=4)
    arrays = {
        "vggish": np.arange(30, dtype=dtype).reshape(6, 5),
        "clip": np.expand_dims(np.arange(20, dtype=dtype).reshape(5, 4), axis),
        "tome": np.expand_dims(np.arange(24, dtype=dtype).reshape(4, 2, 3), axis),
    }
    for name, array in arrays.items():
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "a.npy", array)
    folder.check(["a"], DIMS)
    folder.check_values(["a"])
    loaded = folder.load("a")
    assert [tuple(part.shape) for part in loaded[:3]] == [(4, 5), (4, 4), (4, 2, 3)]
    assert loaded.frames == 4
    for part, array in zip(loaded[:3], arrays.values(), strict=True):
        assert part.dtype == (torch.float16 if array.dtype.itemsize == 2 else torch.float32)
        assert np.array_equal(part.numpy().ravel(), array.ravel()[: part.numel()])


def test_at_most_so_many_frames_are_used(folder: FeatureFolder) -> None:
    folder.save(_features(6), _record("a", 5))
    assert FeatureFolder(folder.root, FOLDERS, frames=4).load("a").frames == 4
    cut = FeatureFolder(folder.root, FOLDERS, frames=6).load("a")
    assert (len(cut.video), cut.frames) == (6, 5)
    with pytest.raises(UserError, match="frames must be at least 1, got 0"):
        FeatureFolder(folder.root, FOLDERS, frames=0)


def test_frames_that_were_not_used_are_looked_at_when_they_are(folder: FeatureFolder) -> None:
    array = np.ones((3, 4), dtype=np.float16)
    array[2] = np.nan
    _overwrite(folder, "video", array)
    FeatureFolder(folder.root, FOLDERS, frames=2).check_values(["a"])
    with pytest.raises(UserError, match="holds NaN"):
        FeatureFolder(folder.root, FOLDERS).check_values(["a"])


def test_a_folder_without_a_frame_is_refused(folder: FeatureFolder) -> None:
    empty = {modality: tensor[:0] for modality, tensor in _features(3).items()}
    folder.save(empty, _record("a", 0))
    with pytest.raises(UserError, match="a: no frame at all"):
        folder.check(["a"], DIMS)
    folder.save(_features(3), _record("a", 4))
    with pytest.raises(UserError, match="a: the index tells 4 frames, the files hold 3"):
        folder.check(["a"], DIMS)


def test_folders_are_renamed_one_by_one() -> None:
    assert renamed(FOLDERS, {"audio": "sound"}) == {**FOLDERS, "audio": "sound"}
    with pytest.raises(UserError, match="unknown modality words; known are audio, video, patches"):
        renamed(FOLDERS, {"words": "x"})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_are_found_on_loading(folder: FeatureFolder, bad: float) -> None:
    array = np.ones((3, 4), dtype=np.float16)
    array[1, 2] = bad
    _overwrite(folder, "video", array)
    with pytest.raises(UserError, match=r"frame_ViT-L14@336px/a\.npy: holds NaN"):
        folder.load("a")


def test_loading_compares_the_lengths(folder: FeatureFolder) -> None:
    _overwrite(folder, "video", np.ones((2, 4), dtype=np.float32))
    with pytest.raises(UserError, match="different numbers of frames"):
        folder.load("a")
    folder.save(_features(3), _record("a", 5))
    with pytest.raises(UserError, match="the index tells 5 frames, the files hold 3"):
        folder.load("a")


class _Trap:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def test_nothing_is_unpickled(folder: FeatureFolder, tmp_path: Path) -> None:
    mark = tmp_path / "unpickled"
    path = folder.path("a", "audio")
    objects = np.empty(3, dtype=object)
    objects[0] = _Trap(mark)
    for content in ("array", "pickle"):
        if content == "array":
            np.save(path, objects, allow_pickle=True)
        else:
            path.write_bytes(pickle.dumps(_Trap(mark)))
        with pytest.raises(UserError, match=r"vggish/a\.npy"):
            folder.load("a")
        with pytest.raises(UserError, match=r"vggish/a\.npy"):
            folder.check(["a"], DIMS)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["..", "../v", "/v", "a/../../v", "", ".", "..\\v", "v\0", "\ud800", "v" * 256])
def test_folders_lie_in_that_of_the_features(tmp_path: Path, name: str) -> None:
    """A config or a store names them, and features are written there."""
    with pytest.raises(UserError, match=r"folders: video is in .*; name a folder inside"):
        FeatureFolder(tmp_path, FOLDERS | {"video": name})


def test_a_folder_in_a_folder_is_inside(tmp_path: Path) -> None:
    assert (
        FeatureFolder(tmp_path, FOLDERS | {"video": "clip/v"}).path("a", "video") == tmp_path / "clip" / "v" / "a.npy"
    )


@pytest.mark.parametrize("video_id", ["a" * 216, "ä" * 108, "a\udcff"])
def test_an_id_that_no_file_can_have_is_told(folder: FeatureFolder, video_id: str) -> None:
    for read in (folder.index, folder.load, folder.complete):
        with pytest.raises(UserError, match=r"a file's name has room for 215|no text in UTF-8; rename the file"):
            read(video_id)


def test_the_longest_id_can_be_written(folder: FeatureFolder) -> None:
    folder.save(_features(3), _record("a" * 215, 3))
    assert folder.complete("a" * 215) is not None


@pytest.mark.parametrize("video_id", ["../a", "/etc/passwd", "x/../../a", "..", ".", "", "c:\\a", "..\\a", ".hidden"])
def test_ids_that_leave_the_folder_are_refused(folder: FeatureFolder, video_id: str) -> None:
    with pytest.raises(UserError, match="no plain file name"):
        folder.load(video_id)
    with pytest.raises(UserError, match="no plain file name"):
        folder.save(_features(3), _record(video_id, 3))


@pytest.mark.parametrize("video_id", ["00000093", "-aB_c9dE0fG", "_x_flip", "a.b"])
def test_ids_of_the_wild_are_taken(folder: FeatureFolder, video_id: str) -> None:
    folder.save(_features(3), _record(video_id, 3))
    assert folder.load(video_id).frames == 3


def test_a_broken_index_is_named(folder: FeatureFolder) -> None:
    path = folder.root / "index" / "a.json"
    for content in ("{", json.dumps({"video_id": "a"}), "[]"):
        path.write_text(content)
        with pytest.raises(UserError, match=r"index/a\.json"):
            folder.load("a")


def test_folders_need_a_name_for_each_modality(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name audio; name exactly audio, video, patches"):
        FeatureFolder(tmp_path, {"audio": "vggish"})


def test_values_are_read_once_and_again_where_a_file_changed(
    folder: FeatureFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    load = FeatureFolder.load

    def counting(self: FeatureFolder, video_id: str) -> VideoFeatures:
        read.append(video_id)
        return load(self, video_id)

    monkeypatch.setattr(FeatureFolder, "load", counting)
    folder.check_values(["a", "b"])
    folder.check_values(["a", "b"])
    assert read == ["a", "b"]
    path = folder.path("b", "audio")
    array = np.load(path)
    array[0, 0] = np.nan
    np.save(path, array)
    with pytest.raises(UserError, match="NaN"):
        folder.check_values(["a", "b"])
    (folder.root / "checked.json").write_text("{")
    with pytest.raises(UserError, match="NaN"):
        folder.check_values(["a", "b"])
    assert read == ["a", "b", "b", "a", "b"]


def test_what_was_checked_need_not_be_kept(folder: FeatureFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a folder that may only be read."""

    def refused(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr("examples.avqa.features.write_json", refused)
    folder.check_values(["a"])
    assert not (folder.root / "checked.json").exists()


def test_a_file_that_is_shortened_while_it_is_read_is_told(
    folder: FeatureFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder.path("a", "patches")
    read = np.lib.format.read_array

    def shortened(file: Any, **options: Any) -> Any:
        if Path(file.name) == path:
            # The header was read, and promised more.
            with path.open("r+b") as other:
                other.truncate(path.stat().st_size - 1)
        return read(file, **options)

    monkeypatch.setattr(np.lib.format, "read_array", shortened)
    with pytest.raises(UserError, match=r"a\.npy: truncated or no array of numbers"):
        folder.load("a")


def test_a_file_of_another_width_than_was_checked_is_told(folder: FeatureFolder) -> None:
    folder.check(["a"], DIMS)
    path = _overwrite(folder, "video", np.zeros((3, 9), np.float32))
    with pytest.raises(UserError, match=rf"{path.name}: shape \[3, 9\], it was changed after it was checked"):
        folder.load("a")
