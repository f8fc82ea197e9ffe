"""`extract` turns a folder of videos into features, goes on where it stopped, and tells broken files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from examples.avqa import extract as extract_module
from examples.avqa.clips import ClipFeatures, Length, encode_clip
from examples.avqa.encoders import Encoders, load_encoders
from examples.avqa.errors import UserError
from examples.avqa.extract import extract
from examples.avqa.features import FeatureFolder
from tests.examples.tiny_videos import write_video


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _cut_off(path: Path) -> Path:
    write_video(path, seconds=10, options={"movflags": "faststart"})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def _folder(out: Path) -> FeatureFolder:
    return FeatureFolder(out, load_encoders("small").folders)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "a.mp4", seconds=3, tone=(2, 3))
    write_video(folder / "b.mkv", seconds=1).rename(folder / "b.MKV")
    write_video(folder / "c.mov", seconds=0.6, size=(47, 65))
    (folder / "notes.txt").write_text("not a video")
    (folder / "._a.mp4").write_text("not a video either")
    return folder


@pytest.fixture(scope="module")
def features(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("features")
    extract(videos, out, workers=1)
    return out


def test_every_video_gets_its_features(videos: Path, features: Path) -> None:
    encoders, folder = load_encoders("small"), _folder(features)
    folder.check(["a", "b", "c"], encoders.dims)
    assert [folder.load(video_id).frames for video_id in "abc"] == [3, 1, 1]
    assert not any(features.rglob("*notes*"))
    record = folder.complete("a")
    assert record is not None
    assert (record.encoder, record.frames, record.silent) == ("small", 3, False)
    assert record.duration == pytest.approx(3, abs=0.1)
    assert record.shapes == {"audio": [3, 256], "video": [3, 1280], "patches": [3, 7, 1288]}


def test_features_are_aligned_with_the_video(videos: Path, features: Path) -> None:
    loaded = _folder(features).load("a")
    loudness = loaded.audio[:, :128].max(dim=-1).values
    assert loudness[2] > loudness[:2].max() + 8
    clip = encode_clip(videos / "a.mp4", load_encoders("small"))
    assert torch.allclose(loaded.audio, clip.audio, atol=1e-3)
    assert torch.allclose(loaded.video.float(), clip.video, atol=1e-2)
    assert torch.allclose(loaded.patches.float(), clip.patches, atol=1e-2)


@pytest.mark.slow
def test_processes_give_the_same_bytes(videos: Path, features: Path, tmp_path: Path) -> None:
    extract(videos, tmp_path / "out", workers=2)
    assert _files(tmp_path / "out") == _files(features)


def test_a_rerun_does_only_what_is_missing(
    videos: Path, features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    encoded: list[str] = []

    def interrupted(
        path: Path, encoders: Encoders, length: Length, on_frame: Callable[[int, int], None]
    ) -> ClipFeatures:
        if path.stem == "b" and "b" not in encoded:
            encoded.append("b")
            raise KeyboardInterrupt
        encoded.append(path.stem)
        return encode_clip(path, encoders, length, on_frame)

    monkeypatch.setattr(extract_module, "encode_clip", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract(videos, out, workers=1)
    assert [path.name for path in (out / "index").iterdir()] == ["a.json"]
    extract(videos, out, workers=1)
    assert encoded == ["a", "b", "b", "c"]
    extract(videos, out, workers=1)
    assert len(encoded) == 4
    assert _files(out) == _files(features)


def test_a_deleted_array_and_a_changed_video_are_encoded_again(tmp_path: Path) -> None:
    video, out = tmp_path / "a.mp4", tmp_path / "out"
    extract(write_video(video, seconds=1), out)
    before = _files(out)
    (out / "logmel" / "a.npy").unlink()
    extract(video, out)
    assert _files(out) == before
    extract(write_video(video, seconds=2), out)
    assert _folder(out).load("a").frames == 2


def test_a_single_file_is_taken(videos: Path, features: Path, tmp_path: Path) -> None:
    extract(videos / "c.mov", tmp_path)
    written = _files(tmp_path)
    assert len(written) == 4
    assert written.items() <= _files(features).items()


def test_no_sound_is_encoded_as_silence(tmp_path: Path) -> None:
    path = write_video(tmp_path / "quiet.mp4", seconds=2, tone=None)
    with pytest.warns(UserWarning, match="no sound, so silence is encoded: quiet"):
        extract(path, tmp_path / "out")
    folder = _folder(tmp_path / "out")
    record = folder.complete("quiet")
    assert record is not None
    assert record.silent
    silence = load_encoders("small").encode_audio(np.zeros((2, 16000), dtype=np.float32))
    assert torch.equal(folder.load("quiet").audio, silence)


def test_a_broken_header_is_told_before_anything_is_encoded(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", seconds=1)
    (tmp_path / "z.mp4").write_text("not a video")
    with pytest.raises(UserError, match=r"z\.mp4 is not a readable video"):
        extract(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_broken_video_stops_the_work_and_names_itself(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", seconds=1)
    _cut_off(tmp_path / "b.mp4")
    with pytest.raises(UserError, match=r"b\.mp4 is cut off.*skip_broken"):
        extract(tmp_path, tmp_path / "out", workers=1)
    assert sorted(path.name for path in (tmp_path / "out" / "index").iterdir()) == ["a.json"]


def test_broken_videos_are_left_out_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(tmp_path / "a.mp4", seconds=1)
    _cut_off(tmp_path / "b.mp4")
    (tmp_path / "c.mp4").write_text("not a video")
    extract(tmp_path, tmp_path / "out", workers=1, skip_broken=True)
    told = capsys.readouterr().err
    assert "left out 2 of 3 videos" in told
    assert "b.mp4 is cut off" in told
    assert "c.mp4 is not a readable video" in told
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.npy")) == ["a.npy"] * 3


def test_when_all_are_broken_it_is_an_error(tmp_path: Path) -> None:
    _cut_off(tmp_path / "b.mp4")
    with pytest.raises(UserError, match=r"no video in .* can be read"):
        extract(tmp_path, tmp_path / "out", skip_broken=True)


def test_features_of_another_preset_are_not_mixed(videos: Path, tmp_path: Path) -> None:
    extract(videos / "c.mov", tmp_path)
    index = tmp_path / "index" / "c.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"encoder": "paper"}))
    with pytest.raises(UserError, match="holds features of c by preset paper, not small"):
        extract(videos, tmp_path)


def test_wrong_arguments_are_told(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        extract(tmp_path / "none", tmp_path / "out")
    with pytest.raises(UserError, match="no videos in"):
        extract(tmp_path, tmp_path / "out")
    with pytest.raises(UserError, match="unknown encoder preset"):
        extract(videos, tmp_path / "out", preset="large")
    with pytest.raises(UserError, match="workers is 0"):
        extract(videos, tmp_path / "out", workers=0)
    with pytest.raises(UserError, match="is a file"):
        extract(videos, videos / "a.mp4")
    for suffix in ("mp4", "mkv"):
        (tmp_path / f"twin.{suffix}").touch()
    with pytest.raises(UserError, match="same video id, twin"):
        extract(tmp_path, tmp_path / "out")
