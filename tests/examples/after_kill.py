"""What a killed command leaves is whole, and what its rerun makes can be compared: runs and packed stores."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch

from examples.avqa.errors import UserError
from examples.avqa.fit import load_model
from examples.avqa.store import FeatureStore

CHECKPOINTS = ("best.ckpt", "last.ckpt")


def check_checkpoints(run: Path) -> None:
    """Whatever checkpoint is there can be loaded."""
    for name in CHECKPOINTS:
        if (run / name).exists():
            load_model(run, name.removesuffix(".ckpt"))


def run_content(run: Path) -> Mapping[str, object]:
    """The bytes of the text files, every number of the checkpoints, and which files there are."""
    found: dict[str, object] = {str(path.relative_to(run)): None for path in run.rglob("*")}
    for name in ("metrics.csv", "finished.json", "settings.json"):
        found[name] = (run / name).read_bytes()
    for name in CHECKPOINTS:
        stored = torch.load(run / name, weights_only=True)
        found |= {f"{name}: {key}": _digest(value) for key, value in stored["state_dict"].items()}
        for optimizer in stored.get("optimizer_states", ()):
            for number, state in optimizer["state"].items():
                found |= {f"{name}: state {number} {key}": _digest(value) for key, value in state.items()}
    return found


def assert_whole_or_no_store(store: Path) -> None:
    """Either a finished store, every byte as it was packed, or one that is refused as unfinished."""
    try:
        opened = FeatureStore(store)
    except UserError as error:
        if "unfinished store" not in str(error):
            raise
    else:
        assert not any(opened.value_fault(video_id) for video_id in opened.index.clips)


def _digest(value: torch.Tensor) -> str:
    return hashlib.sha256(value.numpy().tobytes()).hexdigest()
