"""Kills `fit` at random moments and compares what its rerun made with an uninterrupted run.

python -m tests.examples.kill_fit --times 20
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from examples.avqa.fit import load_model
from tests.examples.killing import Kill, kill_and_rerun
from tests.examples.tiny_run import MODEL_OPTIONS, write_data

CHECKPOINTS = ("best.ckpt", "last.ckpt")
# Five batches an epoch, so that kills fall within epochs as well as between them.
_OPTIONS = {
    "data.clips_per_batch": 3,
    "optimizer.lr": 0.001,
    "trainer.max_epochs": 12,
    "trainer.accelerator": "cpu",
    "trainer.checkpoint_steps": 2,
    "trainer.early_stopping_patience": 8,
}


def kill_fit(root: Path, times: int, seed: int = 0) -> list[Kill]:
    """Makes the tiny data set in `root`, and trains on it again and again.

    Raises:
        AssertionError: a rerun gives other metrics or weights, or a kill leaves half a checkpoint.
    """
    data, out = write_data(root / "data"), root / "run"
    options = [part for name, value in _OPTIONS.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "examples.avqa", "fit", *data.options(test=None), *MODEL_OPTIONS, *options]
    return kill_and_rerun(
        # A kill may come between the last file and the end of the process.
        [*command, "--out", str(out), "--if_finished", "skip"],
        out,
        times,
        seed,
        content=content,
        after_kill=check_checkpoints,
    )


def check_checkpoints(out: Path) -> None:
    """Whatever checkpoint is there can be loaded."""
    for name in CHECKPOINTS:
        if (out / name).exists():
            load_model(out, name.removesuffix(".ckpt"))


def content(out: Path) -> Mapping[str, object]:
    """The bytes of the text files, every number of the checkpoints, and which files there are."""
    found: dict[str, object] = {str(path.relative_to(out)): None for path in out.rglob("*")}
    for name in ("metrics.csv", "finished.json", "settings.json"):
        found[name] = (out / name).read_bytes()
    for name in CHECKPOINTS:
        stored = torch.load(out / name, weights_only=True)
        found |= {f"{name}: {key}": _digest(value) for key, value in stored["state_dict"].items()}
        for optimizer in stored.get("optimizer_states", ()):
            for number, state in optimizer["state"].items():
                found |= {f"{name}: state {number} {key}": _digest(value) for key, value in state.items()}
    return found


def _digest(value: torch.Tensor) -> str:
    return hashlib.sha256(value.numpy().tobytes()).hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="kills")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for kill in kill_fit(Path(folder), arguments.times, arguments.seed):
            print(f"killed after {kill.after:.2f} s with {kill.files} files: the rerun is the same")
