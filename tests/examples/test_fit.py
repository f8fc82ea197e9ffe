"""`fit` writes a run that resumes to the same weights, and refuses what is not that run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from examples.avqa.config import OptimizerConfig, TrainerConfig
from examples.avqa.errors import UserError
from examples.avqa.fit import check_settings, fit, load_model, load_settings, train
from examples.avqa.locks import LOCK
from examples.avqa.metrics_file import read_metrics
from examples.avqa.prepare import prepare
from tests.examples.tiny_run import MODEL, OPTIMIZER, TRAINER, TinyData, epochs, everything, train_tiny


def _weights(run: Path, checkpoint: str) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / f"{checkpoint}.ckpt", weights_only=True)["state_dict"]
    return state


def _stopped(data: TinyData, out: Path, trainer: TrainerConfig, at: int) -> Path:
    """A run that was stopped by Ctrl-C when epoch `at` was over, but not yet saved."""

    def stop(epoch: int) -> None:
        if epoch == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(
            prepare(data.config, ("train", "val")), data.config, out, MODEL, OPTIMIZER, trainer, seed=1, on_epoch=stop
        )
    return out


def test_a_run_is_written(tiny: TinyData, tiny_run: Path) -> None:
    assert {path.name for path in tiny_run.iterdir()} >= {
        "settings.json",
        "best.ckpt",
        "last.ckpt",
        "metrics.csv",
        "finished.json",
    }
    settings = load_settings(tiny_run)
    assert settings["model"]["dim"] == 16
    assert settings["data"]["train"] == str(tiny.config.train)
    assert settings["seed"] == 1
    rows = read_metrics(tiny_run / "metrics.csv")
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert all(0 < float(row["train/loss"]) < 10 and 0 < float(row["val/loss"]) < 10 for row in rows)
    finished = json.loads((tiny_run / "finished.json").read_text())
    assert finished["epochs"] == 2
    # Seven questions are asked in validation, so accuracies are sevenths: nothing of the selection score is in them.
    assert finished["best_val_accuracy"] == max(float(row["val/accuracy"]) for row in rows)
    assert 7 * finished["best_val_accuracy"] == pytest.approx(round(7 * finished["best_val_accuracy"]), abs=1e-6)


def test_training_learns_what_the_questions_tell(tiny: TinyData, tmp_path: Path) -> None:
    data = replace(tiny.config, features=None)
    run = train_tiny(tiny, tmp_path / "run", data=data, model=replace(MODEL, dropout=0.0), trainer=epochs(12))
    losses = [float(row["train/loss"]) for row in read_metrics(run / "metrics.csv")]
    assert losses[-1] < 0.5 * losses[0]
    assert json.loads((run / "finished.json").read_text())["best_val_accuracy"] > 0.8


# The fast ones of test_resume.py stop within epochs.
@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 2])
def test_a_stopped_run_resumes_to_the_very_same_weights(
    tiny: TinyData, tmp_path: Path, stop: int, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train_tiny(tiny, tmp_path / "whole", trainer=epochs(3))
    stopped = _stopped(tiny, tmp_path / "stopped", epochs(3), at=stop)
    assert not (stopped / "finished.json").exists()
    assert torch.load(stopped / "last.ckpt", weights_only=True)["epoch"] == stop - 1
    train_tiny(tiny, stopped, trainer=epochs(3))
    for checkpoint in ("best", "last"):
        wanted, resumed = _weights(whole, checkpoint), _weights(stopped, checkpoint)
        assert wanted.keys() == resumed.keys()
        assert [name for name in wanted if not torch.equal(wanted[name], resumed[name])] == []
    assert (stopped / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    assert (stopped / "finished.json").read_bytes() == (whole / "finished.json").read_bytes()


def test_a_run_stopped_in_its_first_epoch_begins_anew_with_any_settings(tiny: TinyData, tmp_path: Path) -> None:
    stopped = _stopped(tiny, tmp_path / "run", epochs(2), at=0)
    assert not (stopped / "last.ckpt").exists()
    train_tiny(tiny, stopped, trainer=epochs(1))
    assert load_settings(stopped)["trainer"]["max_epochs"] == 1


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_another_others(
    tiny: TinyData, tiny_run: Path, tmp_path: Path
) -> None:
    again, other = train_tiny(tiny, tmp_path / "again"), train_tiny(tiny, tmp_path / "other", seed=2)
    wanted = _weights(tiny_run, "last")
    assert all(torch.equal(value, wanted[name]) for name, value in _weights(again, "last").items())
    assert not torch.equal(_weights(other, "last")["model.head.weight"], wanted["model.head.weight"])


def test_epochs_draw_different_dropout(tiny: TinyData, tmp_path: Path) -> None:
    """With nothing learnt and every batch the whole set, only dropout tells two epochs apart."""
    data = replace(tiny.config, clips_per_batch=4, questions_per_clip=4)
    run = train_tiny(tiny, tmp_path / "run", data=data, optimizer=OptimizerConfig(lr=1e-30))
    first, second = (float(row["train/loss"]) for row in read_metrics(run / "metrics.csv"))
    assert abs(first - second) > 1e-4


def test_a_finished_run_is_kept(tiny: TinyData, tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = everything(tiny_run)
    with pytest.raises(UserError, match="finished run"):
        train_tiny(tiny, tiny_run)
    # As if killed at its very end.
    (tiny_run / LOCK).touch()
    train_tiny(tiny, tiny_run, if_finished="skip")
    assert "finished" in capsys.readouterr().out
    assert everything(tiny_run) == before


@pytest.mark.parametrize(
    ("others", "named"),
    [
        ({"seed": 2}, "seed"),
        ({"trainer": epochs(5)}, "trainer.max_epochs"),
        ({"model": replace(MODEL, dim=32)}, "model.dim"),
        ({"optimizer": replace(OPTIMIZER, lr=0.5)}, "optimizer.lr"),
    ],
)
@pytest.mark.parametrize("last", [True, False], ids=["whole", "without last.ckpt"])
def test_other_settings_are_refused(
    tiny: TinyData, tiny_run: Path, tmp_path: Path, others: dict[str, Any], named: str, last: bool
) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    if not last:
        (run / "last.ckpt").unlink()
    before = everything(run)
    with pytest.raises(UserError, match=rf"other settings \({named}\)"):
        train_tiny(tiny, run, if_finished="skip", **others)
    assert everything(run) == before


def test_settings_that_change_no_result_and_new_options_at_their_defaults_are_the_same_run(
    tiny: TinyData, tiny_run: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    settings = json.loads((run / "settings.json").read_text())
    del settings["model"]["top_frames"], settings["data"]["weights"]
    (run / "settings.json").write_text(json.dumps(settings))
    train_tiny(tiny, run, if_finished="skip", data=replace(tiny.config, workers=3))
    with pytest.raises(UserError, match=r"other settings \(model.top_frames\)"):
        train_tiny(tiny, run, if_finished="skip", model=replace(MODEL, top_frames=3))


def test_a_broken_checkpoint_is_told_before_training_goes_on(tiny: TinyData, tiny_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / "finished.json").unlink()
    (run / "last.ckpt").write_bytes((run / "last.ckpt").read_bytes()[:4000])
    with pytest.raises(UserError, match=r"last\.ckpt is cut off"):
        train_tiny(tiny, run)


def test_the_published_expert_order_trains(own: TinyData, tmp_path: Path) -> None:
    from tests.examples.tiny_run import CLIPS, write_features

    for split, count in CLIPS.items():
        for clip in range(count):
            write_features(own, f"{split}_{clip}", frames=3, seed=clip)
    data = replace(own.config, questions_per_clip=1)
    model = replace(MODEL, released_expert_order=True)
    run = train_tiny(own, tmp_path / "run", data=data, model=model, trainer=epochs(1))
    assert load_model(run).config.released_expert_order


def test_questions_alone_need_no_features(tiny: TinyData, tmp_path: Path) -> None:
    run = train_tiny(tiny, tmp_path / "run", data=replace(tiny.config, features=None), trainer=epochs(1))
    assert load_model(run).feature_dims == {"audio": 1, "video": 1, "patches": 1, "question": 384, "words": 384}


def test_the_callers_logging_is_left_as_it_was(tiny: TinyData, tmp_path: Path) -> None:
    import logging

    logger = logging.getLogger("lightning.pytorch")
    logger.setLevel(logging.WARNING)
    with pytest.raises(UserError, match="trainer"):
        train_tiny(tiny, tmp_path / "run", trainer=replace(TRAINER, accelerator="abacus"))
    assert logger.level == logging.WARNING
    assert not (tmp_path / "run").exists()


def test_settings_are_checked_without_reading_data(tiny: TinyData) -> None:
    nowhere = replace(tiny.config, answers=Path("no.json"), train=Path("no.json"), val=Path("no.json"))
    check_settings(nowhere, MODEL, OPTIMIZER, TRAINER, [1])
    with pytest.raises(UserError, match="divisible by heads"):
        fit(nowhere, Path("no"), replace(MODEL, heads=3), OPTIMIZER, TRAINER)
