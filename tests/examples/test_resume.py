"""A run that is stopped anywhere goes on to the very same files."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from examples.avqa.config import TrainerConfig
from examples.avqa.metrics_file import read_metrics
from tests.examples.stopping import stopped_before_batch
from tests.examples.tiny_run import MODEL, OPTIMIZER, TRAINER, TinyData, train_tiny

# Eight items: four batches an epoch, each with dropout and noise.
RUN = {
    "model": replace(MODEL, feature_noise=0.1),
    "optimizer": replace(OPTIMIZER, schedule="cosine", warmup_steps=2),
    "trainer": replace(TRAINER, max_epochs=3, checkpoint_steps=1, early_stopping_patience=3),
}


@pytest.fixture(scope="module")
def whole(tiny: TinyData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(tiny, tmp_path_factory.mktemp("whole") / "run", **RUN)


def assert_same_run(run: Path, wanted: Path) -> None:
    """Metrics, weights, optimizer and schedule are the same to the last bit."""
    for name in ("metrics.csv", "finished.json"):
        assert (run / name).read_bytes() == (wanted / name).read_bytes(), name
    for name in ("best.ckpt", "last.ckpt"):
        ours, theirs = (torch.load(folder / name, weights_only=True) for folder in (run, wanted))
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "callbacks", "within_epoch"):
            assert _same(ours.get(part), theirs.get(part)), f"{part} of {name}"


def _same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    # Under FSDP2 a tuple comes back as a list.
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other


@pytest.mark.parametrize("batch", [3, *(pytest.param(batch, marks=pytest.mark.slow) for batch in (1, 4, 6))])
def test_within_an_epoch(tiny: TinyData, tmp_path: Path, whole: Path, batch: int) -> None:
    with stopped_before_batch(batch):
        train_tiny(tiny, tmp_path / "run", **RUN)
    assert_same_run(train_tiny(tiny, tmp_path / "run", **RUN), whole)


@pytest.mark.slow
def test_twice_and_with_accumulated_batches(tiny: TinyData, tmp_path: Path) -> None:
    run = RUN | {"trainer": replace(TRAINER, max_epochs=3, accumulate_grad_batches=3, checkpoint_steps=1)}
    whole = train_tiny(tiny, tmp_path / "whole", **run)
    for batch in (7, 3):
        with stopped_before_batch(batch):
            train_tiny(tiny, tmp_path / "run", **run)
    assert_same_run(train_tiny(tiny, tmp_path / "run", **run), whole)


@pytest.mark.slow
def test_how_often_a_run_is_saved_changes_nothing(tiny: TinyData, tmp_path: Path, whole: Path) -> None:
    assert isinstance(RUN["trainer"], TrainerConfig)
    run = train_tiny(tiny, tmp_path / "run", **RUN | {"trainer": replace(RUN["trainer"], checkpoint_steps=None)})
    assert (run / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()


def test_after_the_last_epoch(tiny: TinyData, tmp_path: Path, whole: Path) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    (run / "finished.json").unlink()
    (run / ".last.1.tmp.ckpt").write_bytes(b"half a file")
    assert_same_run(train_tiny(tiny, run, **RUN), whole)
    assert not list(run.glob(".*"))


@pytest.mark.slow
def test_after_an_early_stop(tiny: TinyData, tmp_path: Path) -> None:
    # Nothing is learnt, so the second epoch is no better than the first.
    run = {
        "optimizer": replace(OPTIMIZER, lr=1e-30),
        "trainer": replace(TRAINER, max_epochs=9, early_stopping_patience=1),
    }
    whole = train_tiny(tiny, tmp_path / "whole", **run)
    assert [row["epoch"] for row in read_metrics(whole / "metrics.csv")] == ["0", "1"]
    again = Path(shutil.copytree(whole, tmp_path / "run"))
    (again / "finished.json").unlink()
    assert_same_run(train_tiny(tiny, again, **run), whole)


def test_last_is_the_last_epoch_and_best_the_best(tiny: TinyData, tmp_path: Path) -> None:
    run = train_tiny(tiny, tmp_path / "run", trainer=replace(TRAINER, max_epochs=4), optimizer=replace(OPTIMIZER, lr=1))
    accuracies = [float(row["val/accuracy"]) for row in read_metrics(run / "metrics.csv")]
    best, last = (torch.load(run / name, weights_only=True) for name in ("best.ckpt", "last.ckpt"))
    assert last["epoch"] == 3
    assert best["epoch"] == max(range(4), key=lambda epoch: (accuracies[epoch], epoch))
    assert "optimizer_states" not in best
