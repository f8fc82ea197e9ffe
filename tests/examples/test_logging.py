"""The logging examples: what TensorBoard reads back from their files."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing import event_accumulator

from examples.logging import lightning_callback, plain, task

EVENTS: Any = event_accumulator
"""Any: tensorboard has no types."""


def written(folder: Path) -> Any:
    """The one event file below the folder, all of it."""
    (path,) = folder.rglob("events.out.tfevents.*")
    events = EVENTS.EventAccumulator(str(path), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    return events


def run_plain(out: Path) -> Any:
    plain.main(["--out", str(out), "--steps", "30"])
    return written(out)


def run_lightning(out: Path) -> Any:
    lightning_callback.main(["--out", str(out), "--steps", "30"])
    return written(out)


@pytest.mark.parametrize("run", [run_plain, run_lightning])
def test_scalars_and_figures_are_read_back(run: Callable[[Path], Any], tmp_path: Path) -> None:
    events = run(tmp_path)
    tags = events.Tags()
    assert sorted(tags["images"]) == ["routing/history", "routing/timeline"]
    for tag in tags["images"]:
        (image,) = events.Images(tag)
        assert image.encoded_image_string.startswith(b"\x89PNG")
        assert min(image.width, image.height) > 300
    per_expert = {f"routing/{name}/{e}" for name in ("load", "importance", "center", "std") for e in range(6)}
    assert {"routing/entropy", "routing/gate_entropy"} | per_expert <= set(tags["scalars"])
    assert len({event.step for event in events.Scalars("routing/entropy")}) == 3
    for name in ("load", "importance"):
        shares = [[event.value for event in events.Scalars(f"routing/{name}/{expert}")] for expert in range(6)]
        for of_step in zip(*shares, strict=True):
            assert math.isclose(sum(of_step), 1.0, abs_tol=1e-5)
    for event in events.Scalars("routing/entropy"):
        assert 0.0 < event.value <= math.log(6) + 1e-5


@pytest.mark.slow
def test_the_task_is_learnt(tmp_path: Path) -> None:
    """Four answers: guessing is right in a quarter of the clips, any of the three that are shown in half of them."""
    assert plain.train(tmp_path, steps=80) > 0.8


def test_clips_show_the_answer_during_the_event() -> None:
    batch = task.sample(50, torch.Generator().manual_seed(3))
    place = (torch.arange(task.FRAMES) + 0.5) / batch.lengths.unsqueeze(-1)
    inside = (place > batch.truth[:, :1]) & (place < batch.truth[:, 1:])
    likeness = torch.einsum("btd,bd->bt", batch.frames, batch.question) / batch.question.square().sum(-1, keepdim=True)
    assert float(likeness[inside].mean()) > 0.8
    assert float(likeness[~inside & (place < 1)].abs().mean()) < 0.5
