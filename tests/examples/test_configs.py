"""Every shipped YAML is one of its command's, and one that trains, trains: a step on tiny features. Synthetic."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from examples.avqa import cli
from examples.avqa.cli import command_parser, main
from examples.avqa.encoders import MODALITIES, load_encoders
from examples.avqa.features import FeatureFolder, IndexRecord
from examples.avqa.fit import check_settings
from examples.avqa.metrics_file import read_metrics
from tests.examples.tiny_run import CLIPS, TinyData, write_data
from tests.examples.tiny_weights import WORDS, write_weights

CONFIGS = sorted((Path(cli.__file__).parent / "configs").glob("*.yaml"))
FRAMES = 5


def _fields(config: Path) -> dict[str, object]:
    fields: dict[str, object] = yaml.safe_load(config.read_text(encoding="utf-8"))
    return fields


def _commands(fields: dict[str, object]) -> list[str]:
    """Those whose options a config holds; what trains also serves a comparison and `check`."""
    if "trainer" in fields:
        return ["fit", "compare", "check"]
    return ["test"] if "annotations" in fields else ["concert"]


TRAINING = [config for config in CONFIGS if "fit" in _commands(_fields(config))]
QUICK = ("demo", "music_avqa")
"""The others train in the slow tests."""
configs = pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)


@configs
def test_it_is_read_by_its_command(config: Path) -> None:
    fields = _fields(config)
    for name in _commands(fields):
        others = {"fit": ["--out", "x"], "compare": ["--out", "x"], "test": ["--run", "x"], "concert": ["--out", "x"]}
        options = ["--config", str(config), *others.get(name, [])]
        data = fields.get("data")
        if isinstance(data, dict) and "answers" not in data:
            options += [text for part in ("answers", "train", "val") for text in (f"--data.{part}", "x.json")]
        given = command_parser(name).parse_args(options)
        if name == "fit":
            made = command_parser(name).instantiate_classes(given)
            check_settings(made.data, made.model, made.optimizer, made.trainer, [1])


@configs
def test_it_says_how_it_is_used_or_what_for(config: Path) -> None:
    assert config.read_text(encoding="utf-8").startswith("# ")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "w", projected=WORDS)


@pytest.fixture(scope="module")
def data(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TinyData]:
    """The tiny data set with features of each preset."""
    small = write_data(tmp_path_factory.mktemp("small") / "data")
    paper = write_data(tmp_path_factory.mktemp("paper") / "data")
    encoders = load_encoders("paper", weights)
    dims, folder = encoders.dims, FeatureFolder(paper.config.features or Path(), encoders.folders)
    shapes = {"audio": (FRAMES, dims.audio), "video": (FRAMES, dims.video), "patches": (FRAMES, *dims.patches)}
    for video_id in (f"{split}_{clip}" for split, clips in CLIPS.items() for clip in range(clips)):
        record = IndexRecord(
            video_id, "paper", FRAMES - 1, 4.0, False, 1, {name: list(s) for name, s in shapes.items()}
        )
        folder.save({name: torch.randn(shapes[name]) for name in MODALITIES}, record)
    return {"small": small, "paper": paper}


@pytest.mark.parametrize(
    "config",
    [pytest.param(path, id=path.stem, marks=[] if path.stem in QUICK else pytest.mark.slow) for path in TRAINING],
)
def test_fit_runs_a_step_with_it(config: Path, data: dict[str, TinyData], weights: Path, tmp_path: Path) -> None:
    given = _fields(config)["data"]
    assert isinstance(given, dict)
    tiny = data[given["encoder"]]
    # A config without features trains without.
    features = tiny.config.features if given["features"] else None
    options = tiny.options(features=features)
    if given["encoder"] == "paper":
        options += ["--data.weights", str(weights)]
    options += ["--trainer.options", json.dumps({"limit_train_batches": 1, "limit_val_batches": 1})]
    options += ["--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--trainer.devices", "1"]
    assert main(["fit", "--config", str(config), *options, "--out", str(tmp_path / "run")]) == 0
    finished = json.loads((tmp_path / "run" / "finished.json").read_text())
    assert finished["epochs"] == 1
    assert (tmp_path / "run" / "best.ckpt").is_file()


def test_a_packed_store_of_other_widths_trains_like_its_folder(
    data: dict[str, TinyData], weights: Path, tmp_path: Path
) -> None:
    paper, config = data["paper"], Path(cli.__file__).parent / "configs" / "music_avqa_tspm.yaml"
    features = str(paper.config.features)
    packing = ["pack", "--features", features, "--out", str(tmp_path / "packed"), "--encoder", "paper"]
    assert main([*packing, "--weights", str(weights)]) == 0
    losses = []
    for name, source in (("folder", features), ("store", str(tmp_path / "packed"))):
        options = [*paper.options(features=source), "--data.weights", str(weights), "--model.dim", "16"]
        options += ["--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--trainer.devices", "1"]
        assert main(["fit", "--config", str(config), *options, "--out", str(tmp_path / name)]) == 0
        losses.append([float(row["train/loss"]) for row in read_metrics(tmp_path / name / "metrics.csv")])
    # Half precision rounds the sound, which the folder keeps in single.
    assert losses[0] == pytest.approx(losses[1], abs=1e-2)
