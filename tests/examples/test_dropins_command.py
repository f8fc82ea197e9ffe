"""The command line of the drop-ins: arguments, the concerts' cache, the record and its table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from examples.avqa.errors import UserError
from examples.dropins import concerts, grounding, top_frames, video_backbone
from examples.dropins.command import run
from examples.dropins.concerts import frame_features, load_concerts, sample_scene
from examples.dropins.table import comparison

RECORD: dict[str, Any] = {
    "caption": "What was measured.",
    "settings": {"seeds": [1, 2]},
    "rows": [
        {"name": "replaced", "parameters": 12345, "measures": {"all": [0.5, 0.7]}},
        {"name": "layer", "parameters": 12300, "measures": {"all": [0.25, 0.25]}},
    ],
}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Random features under the names of rendered ones."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4), ("test", 4)):
        features = generator.standard_normal((count, 30, 256)).astype(np.float16)
        np.save(tmp_path / f"concerts_{split}.npy", features)
    return tmp_path


def test_the_table_has_mean_and_deviation_and_every_row() -> None:
    lines = comparison(RECORD).splitlines()
    assert lines[0] == "| part | parameters | all |"
    assert lines[2:4] == ["| replaced | 12,345 | 60.0 ± 14.1 |", "| layer | 12,300 | 25.0 ± 0.0 |"]
    assert lines[-1] == "What was measured. 2 seeds, mean ± standard deviation."


@pytest.mark.parametrize("module", [top_frames, grounding])
def test_a_command_on_concerts_writes_what_it_measured(module: Any, cache: Path) -> None:
    few = ["--concerts", "12", "--test-concerts", "4", "--epochs", "1", "--seeds", "3"]
    more = ["--val-concerts", "4"] if module is grounding else []
    record = module.main([*few, *more, "--cache", str(cache), "--out", str(cache / "record.json")])
    assert json.loads((cache / "record.json").read_text(encoding="utf-8")) == record
    assert record["settings"]["seeds"] == [3]
    # Where files lie is no part of a result.
    assert str(cache) not in json.dumps(record)
    assert "Seed 3." in comparison(record)


def test_the_backbones_command_takes_weights_from_a_folder(tmp_path: Path) -> None:
    few = ["--clips", "8", "--test-clips", "3", "--epochs", "1", "--seeds", "1"]
    video_backbone.load_backbone(None).save_pretrained(tmp_path / "weights")
    named = video_backbone.main([*few, "--backbone", str(tmp_path / "weights")])
    assert named["rows"] == video_backbone.main(few)["rows"]


def test_weights_that_are_not_there_are_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(lambda: video_backbone.main(["--backbone", str(tmp_path / "none")])) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --backbone:")
    assert error.count("\n") == 1


@pytest.mark.parametrize("module", [top_frames, video_backbone, grounding])
def test_help_teaches_with_an_example(module: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        module.main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "Example: python -m examples.dropins." in text
    assert "--seeds" in text


def test_no_epochs_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        top_frames.main(["--epochs", "0"])
    assert "must be at least 1, got 0" in capsys.readouterr().err


def test_a_cache_that_is_none_is_named(cache: Path) -> None:
    (cache / "concerts_train.npy").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"concerts_train\.npy cannot be read .*; delete it"):
        load_concerts(cache, {"train": 2})
    np.savez(cache / "concerts_train.npz", a=np.zeros(2))
    (cache / "concerts_train.npz").rename(cache / "concerts_train.npy")
    with pytest.raises(UserError, match=r"concerts_train\.npy is an archive, and no array; delete it"):
        load_concerts(cache, {"train": 2})
    np.save(cache / "concerts_train.npy", np.zeros((2, 30, 7), np.float16))
    with pytest.raises(UserError, match=r"holds \(2, 30, 7\), expected \[N, 30, 256\]; delete it"):
        load_concerts(cache, {"train": 2})


def test_concerts_are_rendered_once_and_fewer_are_read_from_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = []

    def each(work: Any, jobs: list[tuple[Any, ...]], workers: int) -> Any:
        for place, job in enumerate(jobs):
            rendered.append(job[0].video_id)
            yield place, np.full((30, 256), place, np.float16)

    monkeypatch.setattr(concerts, "each_done", each)
    load_concerts(tmp_path, {"train": 3})
    assert rendered == ["train_00000", "train_00001", "train_00002"]
    assert len(load_concerts(tmp_path, {"train": 2})["train"].frames) == 2
    assert len(rendered) == 3
    load_concerts(tmp_path, {"train": 4})
    assert len(rendered) == 7


def test_a_concert_is_heard_when_its_players_play() -> None:
    scene = sample_scene(0, 0)
    features = torch.from_numpy(frame_features(scene)).float()
    assert features.shape == (30, 256)
    middle = torch.arange(30) + 0.5
    playing, silent = torch.zeros(30, dtype=torch.bool), torch.ones(30, dtype=torch.bool)
    for player in scene.players:
        ((start, end),) = player.segments
        playing |= (middle - 0.5 >= start) & (middle + 0.5 <= end)
        # Sound ends within a fifth of a second behind the player.
        silent &= (middle + 0.5 <= start) | (middle - 0.5 >= end + 0.2)
    level = features[:, :128].mean(-1)
    assert playing.any()
    assert silent.any()
    assert level[playing].min() > level[silent].max()
