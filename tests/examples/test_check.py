"""The table of what is there finds every kind of fault, names it, and goes on to the end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from examples.avqa import cli
from examples.avqa.cli import main
from examples.avqa.pack import pack
from tests.examples.tiny_run import TinyData

CONFIGS = [
    path
    for path in sorted((Path(cli.__file__).parent / "configs").glob("*.yaml"))
    if "answers" in yaml.safe_load(path.read_text(encoding="utf-8")).get("data", {})
]


def _check(own: TinyData, *more: str, **others: str | Path | None) -> int:
    return main(["check", *own.options(**others), *more])


def _found(own: TinyData, tmp_path: Path, *more: str, **others: str | Path | None) -> dict[str, dict[str, int]]:
    """The features of the split `val`, as the JSON file lists them."""
    out = tmp_path / "check.json"
    assert _check(own, "--out", str(out), *more, **others) == 2
    features: dict[str, dict[str, int]] = json.loads(out.read_text())["splits"]["val"]["features"]
    return features


def test_all_is_well(own: TinyData, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "check.json"
    assert _check(own, "--out", str(out), "--values", "true") == 0
    assert "All is well" in capsys.readouterr().out
    whole = json.loads(out.read_text())
    assert whole["answers"] == 5
    assert {name: split["questions"] for name, split in whole["splits"].items()} == {"train": 14, "val": 7, "test": 11}
    assert whole["splits"]["test"]["features"]["together"] == {
        "wanted": 3,
        "there": 3,
        **dict.fromkeys(("missing", "broken", "shape", "frames", "values"), 0),
    }


def test_each_kind_of_fault_is_counted_where_it_is(own: TinyData, tmp_path: Path) -> None:
    for split in ("val", "test"):
        own.folder.path(f"{split}_0", "audio").unlink()
        own.folder.path(f"{split}_1", "video").write_bytes(b"")
        path = own.folder.path(f"{split}_1", "patches")
        np.save(path, np.load(path)[:, :3])
    path = own.folder.path("test_2", "video")
    np.save(path, np.load(path)[:1])
    out = tmp_path / "check.json"
    assert _check(own, "--out", str(out)) == 2
    split = json.loads(out.read_text())["splits"]["test"]
    none = dict.fromkeys(("missing", "broken", "shape", "frames", "values"), 0)
    assert split["features"] == {
        "audio": {"wanted": 3, "there": 2, **none, "missing": 1},
        "video": {"wanted": 3, "there": 3, **none, "broken": 1},
        "patches": {"wanted": 3, "there": 3, **none, "shape": 1},
        "together": {"wanted": 3, "there": 0, **none, "frames": 1},
    }
    assert {fault["video_id"] for fault in split["feature_faults"]} == {"test_0", "test_1", "test_2"}


def test_faults_are_named_with_what_mends_them(own: TinyData, capsys: pytest.CaptureFixture[str]) -> None:
    for clip in range(4):
        own.folder.path(f"train_{clip}", "audio").unlink()
    assert _check(own) == 2
    told = capsys.readouterr()
    assert "train_0.npy: missing" in told.out
    assert "... and 1 more" in told.out
    assert f"extract --videos VIDEOS --out {own.root / 'features'} --preset small" in told.out
    assert "the data has 4 faults; --out FILE.json lists all" in told.err
    assert "train_0" not in told.err


def test_values_are_read_where_it_is_asked(own: TinyData, tmp_path: Path) -> None:
    path = own.folder.path("val_1", "video")
    np.save(path, np.full_like(np.load(path), np.inf))
    assert _check(own) == 0
    assert _found(own, tmp_path, "--values", "true")["together"]["values"] == 1


def test_annotations_are_read_to_the_end(own: TinyData, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = json.loads((own.root / "val.json").read_text())
    records[1]["anser"] = "banjo"
    del records[3]["video_id"]
    records[5] = "text"
    (own.root / "val.json").write_text(json.dumps(records))
    (own.root / "test.json").write_text("[")
    out = tmp_path / "check.json"
    assert _check(own, "--out", str(out)) == 2
    splits = json.loads(out.read_text())["splits"]
    assert [text.partition("val.json: ")[2][:9] for text in splits["val"]["annotation_faults"]] == [
        "record 2 ",
        "record 4 ",
        "record 6 ",
    ]
    assert splits["val"]["questions"] == 4
    assert "test.json is not JSON" in capsys.readouterr().out


def test_without_an_answer_index_the_rest_is_checked(own: TinyData, capsys: pytest.CaptureFixture[str]) -> None:
    own.folder.path("val_0", "audio").unlink()
    assert _check(own, answers=own.root / "none.json") == 2
    told = capsys.readouterr().out
    assert "none.json does not exist" in told
    assert "val_0.npy: missing" in told
    assert "of ?" in told


def test_a_missing_feature_folder_is_every_video_missing(own: TinyData, tmp_path: Path) -> None:
    assert _found(own, tmp_path, features=tmp_path / "none")["together"]["there"] == 0


def test_without_features_the_annotations_are_checked(own: TinyData, capsys: pytest.CaptureFixture[str]) -> None:
    assert _check(own, features=None) == 0
    assert "No features are named" in capsys.readouterr().out


def test_a_store_is_checked_too(own: TinyData, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own.folder.path("val_0", "audio").unlink()
    store = tmp_path / "store"
    pack(own.root / "features", store, skip_broken=True)
    features = _found(own, tmp_path, features=store)
    assert {name: counts["missing"] for name, counts in features.items()} == {
        "audio": 1,
        "video": 1,
        "patches": 1,
        "together": 0,
    }
    assert f"pack --features FOLDER --out {store}" in capsys.readouterr().out
    with (store / "features.bin").open("r+b") as file:
        file.write(b"other")
    assert _found(own, tmp_path, "--values", "true", features=store)["together"]["values"] == 0
    assert json.loads((tmp_path / "check.json").read_text())["splits"]["test"]["features"]["together"]["values"] == 1


def test_the_config_of_a_training_is_taken(own: TinyData, tmp_path: Path) -> None:
    config = tmp_path / "fit.yaml"
    paths = {name: str(getattr(own.config, name)) for name in ("answers", "train", "val", "test", "features")}
    config.write_text(json.dumps({"data": paths, "model": {"dim": 8}, "optimizer": {"lr": 1}, "seeds": [1, 2]}))
    assert main(["check", "--config", str(config)]) == 0
    assert main(["check", "--config", str(config), "--data.frames", "1"]) == 0


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_of_a_training_is_taken(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["check", "--config", str(config)]) == 2
    assert "answer index" in capsys.readouterr().out
