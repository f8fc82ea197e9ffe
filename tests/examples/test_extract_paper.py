"""`extract` with preset `paper` and tiny random weights, through the command line: 60 s, padded, cut or kept whole."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch

from examples.avqa.cli import main
from examples.avqa.config import DataConfig
from examples.avqa.encoders import load_encoders
from examples.avqa.features import FeatureFolder, VideoFeatures
from examples.avqa.prepare import prepare
from tests.examples.kill_extract import kill_extract
from tests.examples.killing import digests
from tests.examples.tiny_run import record
from tests.examples.tiny_videos import write_video
from tests.examples.tiny_weights import write_weights

FPS = Fraction(5)
LENGTHS = {"long": 62.0, "minute": 60.0, "near": 59.2, "short": 3.0, "tiny": 0.4}

pytestmark = pytest.mark.filterwarnings("ignore:.*not the published")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "w")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name, seconds in LENGTHS.items():
        write_video(folder / f"{name}.mp4", seconds=seconds, fps=FPS, size=(32, 48), sample_rate=16000, tone=(1, 2))
    return folder


@pytest.fixture(scope="module")
def features(videos: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("features")
    assert extracted(videos, out, weights) == 0
    return out


def extracted(videos: Path, out: Path, weights: Path, *options: str, preset: str = "paper") -> int:
    command = ["extract", "--videos", str(videos), "--out", str(out), "--preset", preset, "--workers", "1", *options]
    return main([*command, "--weights", str(weights)] if preset == "paper" else command)


def loaded(out: Path, weights: Path, video_id: str) -> VideoFeatures:
    return FeatureFolder(out, load_encoders("paper", weights).folders).load(video_id)


def test_every_clip_has_60_rows_and_says_how_many_are_real(features: Path, weights: Path) -> None:
    """VGGish gives 60 examples from 60 s, from 59.2 s and from 3 s."""
    assert sorted(path.name for path in features.iterdir()) == [
        "frame_ViT-L14@336px",
        "index",
        "vggish",
        "visual_tome14",
    ]
    for video_id, frames in {"long": 60, "minute": 60, "near": 59, "short": 3, "tiny": 1}.items():
        clip = loaded(features, weights, video_id)
        assert clip.audio.shape == (60, 6)
        assert clip.video.shape == (60, 8)
        assert clip.patches.shape == (60, 5, 16)
        assert clip.frames == frames
        for rows in (clip.audio, clip.video, clip.patches):
            assert torch.equal(rows[frames:], rows[frames - 1 : frames].expand_as(rows[frames:]))
    record = json.loads((features / "index" / "near.json").read_text())
    assert (record["encoder"], record["seconds"], record["keep_long"], record["frames"]) == ("paper", 60, False, 59)
    assert len(record["weights"]) == 16


def test_seconds_are_in_order(features: Path, weights: Path) -> None:
    """The tone sounds in the second second, and the picture's grey changes every second, over seven greys."""
    clip = loaded(features, weights, "minute")
    assert not torch.allclose(clip.audio[1], clip.audio[0], atol=1e-2)
    torch.testing.assert_close(clip.audio[2:40], clip.audio[2:3].expand(38, -1), atol=1e-2, rtol=1e-2)
    for second in range(7):
        torch.testing.assert_close(clip.video[second], clip.video[second + 7], atol=1e-2, rtol=1e-2)
        assert not torch.allclose(clip.video[second], clip.video[second + 1], atol=1e-2)


def test_long_clips_are_kept_whole_on_request(features: Path, videos: Path, weights: Path, tmp_path: Path) -> None:
    assert extracted(videos / "long.mp4", tmp_path, weights, "--keep_long", "true") == 0
    assert extracted(videos / "short.mp4", tmp_path, weights, "--keep_long", "true") == 0
    whole, cut = loaded(tmp_path, weights, "long"), loaded(features, weights, "long")
    assert (len(whole.audio), len(whole.video), whole.frames) == (62, 62, 62)
    for name in ("audio", "video", "patches"):
        torch.testing.assert_close(getattr(whole, name)[:60], getattr(cut, name), atol=1e-3, rtol=1e-3)
    assert len(loaded(tmp_path, weights, "short").video) == 60


def test_another_number_of_seconds(videos: Path, weights: Path, tmp_path: Path) -> None:
    assert extracted(videos / "short.mp4", tmp_path / "paper", weights, "--seconds", "2") == 0
    assert loaded(tmp_path / "paper", weights, "short").audio.shape == (2, 6)
    assert extracted(videos / "short.mp4", tmp_path / "small", weights, "--seconds", "5", preset="small") == 0
    small = FeatureFolder(tmp_path / "small", load_encoders("small").folders).load("short")
    assert (len(small.video), small.frames) == (5, 3)


def test_what_was_deleted_is_made_again_byte_for_byte(
    features: Path, videos: Path, weights: Path, tmp_path: Path
) -> None:
    assert extracted(videos / "short.mp4", tmp_path, weights) == 0
    before = digests(tmp_path)
    (tmp_path / "vggish" / "short.npy").unlink()
    (tmp_path / "visual_tome14" / ".short.00000000.1.tmp.npy").write_text("of another machine: never read")
    assert extracted(videos / "short.mp4", tmp_path, weights) == 0
    after = digests(tmp_path)
    assert len(after.pop("visual_tome14/.short.00000000.1.tmp.npy")) == 64
    assert after == before
    assert before.items() <= digests(features).items()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--seconds", "30"), "with seconds 60, not 30"),
        (("--keep_long", "true"), "with keep_long False, not True"),
    ],
)
def test_features_made_otherwise_are_not_mixed(
    features: Path, videos: Path, weights: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str
) -> None:
    assert extracted(videos, features, weights, *options) == 2
    assert said in capsys.readouterr().err


def test_other_weights_are_told_for_new_videos_too(
    features: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = write_video(tmp_path / "new.mp4", seconds=1, fps=FPS, size=(32, 48))
    assert extracted(new, features, write_weights(tmp_path / "w", seed=1)) == 2
    assert "by other weights; name another folder" in capsys.readouterr().err


def test_an_index_from_before_stays_valid(videos: Path, weights: Path, tmp_path: Path) -> None:
    assert extracted(videos / "short.mp4", tmp_path, weights, preset="small") == 0
    path = tmp_path / "index" / "short.json"
    record = json.loads(path.read_text())
    path.write_text(
        json.dumps({name: record[name] for name in record if name not in ("weights", "seconds", "keep_long")})
    )
    before = digests(tmp_path)
    assert extracted(videos / "short.mp4", tmp_path, weights, preset="small") == 0
    assert digests(tmp_path) == before
    assert extracted(videos / "short.mp4", tmp_path, weights, "--seconds", "60", preset="small") == 2


def test_wrong_options_are_told(
    videos: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options, said in (
        (("--seconds", "0"), "seconds is 0"),
        (("--shard", "2/2"), "shard is '2/2'"),
        (("--shard", "half"), "shard is 'half'"),
        (("--weights", str(tmp_path / "none")), "no such folder"),
    ):
        command = ["extract", "--videos", str(videos), "--out", str(tmp_path / "o"), "--preset", "paper", *options]
        assert main(command) == 2
        assert said in capsys.readouterr().err
    assert extracted(videos, tmp_path / "o", weights, "--keep_long", "true", preset="small") == 2
    assert "takes clips as they are" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_training_reads_them_with_questions_of_77_words(features: Path, weights: Path, tmp_path: Path) -> None:
    ask = [
        record(video_id, number, ("Audio", "Counting"), "Is it <Object>?", ["is"], "yes")
        for number, video_id in enumerate(("long", "short"))
    ]
    (tmp_path / "ask.json").write_text(json.dumps(ask))
    (tmp_path / "answers.json").write_text(json.dumps({"ans2ix": {"yes": 0, "no": 1}}))
    data = DataConfig(
        answers=tmp_path / "answers.json",
        train=tmp_path / "ask.json",
        val=tmp_path / "ask.json",
        features=features,
        encoder="paper",
        weights=weights,
        questions_cache=tmp_path / "q",
    )
    prepared = prepare(data, ("train",))
    batch: Any = next(iter(prepared.loader("train", 2, 1)))
    assert batch.audio.shape == (2, 60, 6)
    assert batch.padding_mask.sum(-1).tolist() == [0, 57]
    assert batch.words.shape == (2, 1, 77, 12)
    assert batch.words.dtype == torch.float32
    assert not batch.words_padding_mask.any()
    other = write_weights(tmp_path / "w", seed=1)
    again = prepare(replace(data, weights=other), ("train",))
    first, second = (each.store.take(each.store.rows(["Is it is"])) for each in (prepared, again))
    assert not torch.equal(first.question, second.question)
    assert len(list((tmp_path / "q").iterdir())) == 2


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    """Here once; tests/examples/kill_extract.py does it as often as wanted. One process gives the same, too."""
    assert len(kill_extract(tmp_path, times=1, videos=3)) == 1
    assert extracted(tmp_path / "videos", tmp_path / "alone", tmp_path / "weights") == 0
    assert digests(tmp_path / "alone") == digests(tmp_path / "features")
