"""Two processes train as one does: the same losses and metrics, every question counted once; FSDP2's files load in one.

B clips, Q questions of one clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from examples.avqa.fit import load_model
from examples.avqa.metrics_file import read_metrics
from examples.avqa.prepare import prepare
from tests.examples.pair import resumed, runs
from tests.examples.test_resume import assert_same_run
from tests.examples.tiny_run import TinyData, train_tiny, write_data
from tests.two_processes import run_pair

# One process for all of them: another would train everything again.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pair")]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all runs, trained by two processes that torchrun started."""
    root = tmp_path_factory.mktemp("pair")
    prepare(write_data(root / "data").config, ("train", "val"))
    run_pair("tests.examples.pair", str(root))
    return root


def _alone(root: Path, name: str, run: Mapping[str, Any]) -> Path:
    """The same run in one process."""
    config = replace(run["trainer"], strategy="auto", devices=1, tensorboard=False)
    return train_tiny(TinyData(root / "data"), root / "alone" / name, **{**run, "trainer": config})


def _rows(run: Path) -> list[dict[str, float]]:
    return [{name: float(value) for name, value in row.items()} for row in read_metrics(run / "metrics.csv")]


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        # In float64, so that a question too many or too few cannot hide in the rounding.
        ("ddp", 1e-12),
        ("ddp-accumulated", 1e-12),
        ("ddp-uniform", 1e-12),
        ("ddp-single", 1e-5),
        ("fsdp2", 1e-5),
        ("fsdp2-tspm", 1e-5),
    ],
)
def test_two_processes_equal_one(root: Path, name: str, tolerance: float) -> None:
    both = _rows(root / "pair" / name)
    alone = _rows(_alone(root, name, runs(TinyData(root / "data"))[name]))
    assert len(both) == 2
    for ours, theirs in zip(both, alone, strict=True):
        assert ours["val/accuracy"] == theirs["val/accuracy"]
        assert ours["lr"] == theirs["lr"]
        for loss in ("train/loss", "val/loss"):
            assert ours[loss] == pytest.approx(theirs[loss], rel=0, abs=tolerance)


def test_fsdp2_trains_in_bfloat16(root: Path) -> None:
    name = "fsdp2-bf16"
    alone = _rows(_alone(root, name, runs(TinyData(root / "data"))[name]))
    for ours, theirs in zip(_rows(root / "pair" / name), alone, strict=True):
        # Eight bits of precision, in losses of about 2.
        assert ours["train/loss"] == pytest.approx(theirs["train/loss"], abs=2 * 2**-8)


@pytest.mark.parametrize("name", ["fsdp2", "fsdp2-tspm", "fsdp2-bf16"])
def test_fsdp2s_checkpoints_load_in_one_process(root: Path, name: str) -> None:
    alone = load_model(_alone(root, f"{name}-loaded", runs(TinyData(root / "data"))[name]), "last").state_dict()
    for checkpoint in ("best", "last"):
        loaded = load_model(root / "pair" / name, checkpoint).state_dict()
        assert loaded.keys() == alone.keys()
        assert all(type(value) is torch.Tensor and value.shape == alone[key].shape for key, value in loaded.items())
    if name == "fsdp2":
        assert all(torch.equal(value, alone[key]) for key, value in loaded.items() if key.startswith("whitening"))
        assert torch.allclose(loaded["model.head.weight"], alone["model.head.weight"], atol=1e-4)


@pytest.mark.parametrize("name", ["ddp-dropout", "fsdp2-dropout"])
def test_a_killed_pair_goes_on_to_the_very_same_files(root: Path, name: str) -> None:
    assert name in resumed(TinyData(root / "data"))
    assert_same_run(root / "pair" / f"{name}-killed", root / "pair" / name)


def test_processes_draw_different_dropout(root: Path) -> None:
    state = torch.load(root / "pair" / "ddp-dropout" / "last.ckpt", weights_only=True)["within_epoch"]
    assert not torch.equal(state["cpu"][0], state["cpu"][1])


def test_one_process_writes(root: Path) -> None:
    run = root / "pair" / "ddp-accumulated"
    assert len(list((run / "tensorboard").glob("events.out.tfevents.*"))) == 1
    assert not list(run.glob(".*"))
