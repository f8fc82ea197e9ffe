"""`compare` trains each model with each seed once, and sets them beside the text and the oracle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from examples.avqa import testing
from examples.avqa.compare import ORACLE, STARTS, compare
from examples.avqa.concert.annotate import write_annotations
from examples.avqa.concert.sample import SPLITS, sample_scenes
from examples.avqa.concert.scene import INSTRUMENTS
from examples.avqa.concert.settings import ConcertSettings
from examples.avqa.config import DataConfig
from examples.avqa.errors import UserError
from examples.avqa.fit import FINISHED
from examples.avqa.predicting import TEXT_ONLY
from examples.avqa.results import AccuracyTable, read_predictions, read_tables, tables_from_json
from tests.examples.tiny_run import MODEL, OPTIMIZER, TRAINER, TinyData, epochs, everything, train_tiny


def _compare(data: DataConfig, out: Path, **others: Any) -> None:
    arguments: dict[str, Any] = {
        "model": MODEL,
        "optimizer": OPTIMIZER,
        "trainer": epochs(1),
        "systems": ("QA-TIGER", "uniform pooling"),
        "seeds": (1, 2),
        "jobs": 1,
    }
    compare(data, out, **(arguments | others))


def _tables(path: Path) -> Mapping[str, AccuracyTable]:
    return tables_from_json(json.loads(path.read_text())["tables"], path)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"jobs": 0}, "at least 1"),
        ({"seeds": ()}, "at least 1"),
        ({"seeds": (3, 3)}, "each is trained once, got 3, 3"),
        ({"seeds": (-1,)}, "seed must be"),
        ({"model": replace(MODEL, heads=3)}, "divisible by heads"),
        ({"trainer": epochs(0)}, "max_epochs must be at least 1"),
    ],
)
def test_what_cannot_be_compared_is_told_at_once(
    tiny: TinyData, tmp_path: Path, others: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        _compare(tiny.config, tmp_path / "out", **others)
    assert not (tmp_path / "out").exists()


def test_a_comparison_needs_test_annotations(tiny: TinyData, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.test"):
        _compare(replace(tiny.config, test=None), tmp_path / "out")


@pytest.mark.parametrize("seed", [1, 2])
def test_runs_that_were_tested_with_other_settings_are_not_passed_off(
    tiny: TinyData, tmp_path: Path, seed: int
) -> None:
    """Else the table of an old comparison would be recorded under new settings."""
    run = train_tiny(tiny, tmp_path / "out" / f"gaussian-{seed}", seed=seed)
    testing.test(run, out=run)
    with pytest.raises(UserError, match=rf"gaussian-{seed} holds a run with other settings \(optimizer.lr\)"):
        _compare(tiny.config, tmp_path / "out", trainer=TRAINER, optimizer=replace(OPTIMIZER, lr=0.5))
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"gaussian-{seed}"]


@pytest.mark.slow
def test_a_comparison_from_end_to_end(tiny: TinyData, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, record = tmp_path / "out", tmp_path / "record.json"
    _compare(tiny.config, out, record=record, jobs=2)
    tables = _tables(out / "table.json")
    assert list(tables) == ["QA-TIGER", "uniform pooling", TEXT_ONLY]
    assert tables["QA-TIGER"]["All"].runs == 2
    scores = [
        sum(p.score for p in read_predictions(out / f"gaussian-{seed}" / "predictions.csv")) / 11 for seed in (1, 2)
    ]
    assert tables["QA-TIGER"].total == pytest.approx(sum(scores) / 2)
    # What `test` counts for one of the runs is what the comparison counts.
    testing.test(out / "gaussian-1", out=tmp_path / "one")
    one = read_tables(tmp_path / "one" / "table.json")
    assert one["QA-TIGER"].total == pytest.approx(scores[0])
    assert one[TEXT_ONLY].total == tables[TEXT_ONLY].total
    recorded = json.loads(record.read_text())
    assert {"date", "commit", "device", "python", "torch"} <= recorded["provenance"].keys()
    assert recorded["settings"]["seed"] == [1, 2]
    assert recorded["tables"] == json.loads((out / "table.json").read_text())["tables"]
    assert "±" in (out / "table.md").read_text()

    # A run that is not there any more is made again, the others are left, and the table is the same.
    before = everything(out)
    shutil.rmtree(out / "uniform-2")
    _compare(tiny.config, out, jobs=2)
    after = everything(out)
    checkpoints = {name for name in before if name.endswith((".ckpt", FINISHED))}
    assert len(checkpoints) == 12
    assert {name: before[name] for name in before if "uniform-2" not in name and name in checkpoints} == {
        name: after[name] for name in after if "uniform-2" not in name and name in checkpoints
    }
    assert after["table.md"] == before["table.md"]
    assert after["uniform-2/predictions.csv"] == before["uniform-2/predictions.csv"]
    assert TEXT_ONLY in capsys.readouterr().out


@pytest.mark.slow
def test_a_seed_trains_in_a_comparison_as_by_fit(tiny: TinyData, tmp_path: Path) -> None:
    # Four texts leave most of the directions of a whitening open, which threads would settle otherwise.
    model = replace(MODEL, whiten={})
    _compare(tiny.config, tmp_path / "out", seeds=(1,), model=model)
    run = train_tiny(tiny, tmp_path / "run", model=model, trainer=epochs(1))
    testing.test(run)
    compared, fitted = (
        read_predictions(folder / "predictions.csv") for folder in (tmp_path / "out" / "gaussian-1", run / "test")
    )
    # The processes of a comparison have other numbers of threads, which round otherwise.
    assert [p.predicted for p in compared] == [p.predicted for p in fitted]
    assert [p.probability for p in compared] == pytest.approx([p.probability for p in fitted], abs=1e-4)


@pytest.mark.slow
def test_concerts_bring_the_oracle_and_the_row_on_starts(tmp_path: Path) -> None:
    settings = ConcertSettings(train=40, val=4, test=8)
    programs = dict.fromkeys(INSTRUMENTS, 3)
    scenes = [
        scene
        for split in SPLITS
        for scene in sample_scenes(settings, split, programs_per_instrument=programs, drawings=4)
    ]
    write_annotations(tmp_path / "data", scenes, settings)
    data = DataConfig(
        answers=tmp_path / "data" / "answer2idx.json",
        train=tmp_path / "data" / "train.json",
        val=tmp_path / "data" / "val.json",
        test=tmp_path / "data" / "test.json",
        questions_cache=tmp_path / "questions.safetensors",
        clips_per_batch=8,
        questions_per_clip=8,
    )
    _compare(data, tmp_path / "out", seeds=(1,))
    tables = _tables(tmp_path / "out" / "table.json")
    assert list(tables)[-1] == ORACLE
    oracle = tables[ORACLE]
    # It knows everything but the order.
    for name in ("A-Count", "V-Count", "V-Loc"):
        assert oracle[name].accuracy == 1
    starts = oracle[STARTS]
    assert starts.count > 0
    assert starts.accuracy is not None
    assert starts.accuracy < 0.9


@pytest.mark.parametrize(
    ("environment", "options", "message"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2"}, {}, "torchrun started 2 processes; start it once"),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4"}, {}, "SLURM started 4 processes; start it once"),
        ({}, {"devices": 2}, r"compare trains on one device, got trainer\.devices=2"),
        ({}, {"num_nodes": 3}, r"trainer\.num_nodes=3"),
    ],
)
def test_several_processes_are_refused(
    environment: dict[str, str], options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    train, val, test = (tmp_path / f"{split}.json" for split in ("train", "val", "test"))
    data = DataConfig(answers=tmp_path / "answers.json", train=train, val=val, test=test)
    with pytest.raises(UserError, match=message):
        compare(data, tmp_path / "out", trainer=replace(TRAINER, **options))
