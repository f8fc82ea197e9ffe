"""What cannot be trained as asked is told before any data is read; each epoch has an order of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from examples.avqa.config import ModelConfig
from examples.avqa.data import Batch
from examples.avqa.errors import UserError
from examples.avqa.fit import check_settings
from examples.avqa.module import AVQAModule
from examples.avqa.training import trains_on_gpu
from tests.examples.tiny_run import MODEL, OPTIMIZER, TRAINER, TinyData, train_tiny


@pytest.mark.parametrize(
    ("trainer", "model", "told"),
    [
        ({"devices": 3}, {}, r"clips_per_batch must be at least the number of processes, 3, got 2"),
        ({"devices": 2, "num_nodes": 2}, {}, r"at least the number of processes, 4, got 2"),
        ({"num_nodes": 0}, {}, r"trainer\.num_nodes must be at least 1"),
        ({"early_stopping_patience": 0}, {}, r"early_stopping_patience must be at least 1, or null, got 0"),
        ({"checkpoint_steps": 0}, {}, r"checkpoint_steps must be at least 1, or null, got 0"),
        ({"accelerator": "abacus"}, {}, "trainer: .*abacus"),
        ({"strategy": "magic"}, {}, "trainer: .*magic"),
        ({"precision": "3-bit"}, {}, "trainer: .*3-bit"),
        ({"strategy": "fsdp2", "precision": "16-mixed"}, {}, "trainer: .*16-mixed"),
        ({"options": {"strategy": "ddp"}}, {}, "trainer: .*strategy"),
        ({"devices": 2}, {"released_expert_order": True}, r"released_expert_order .* give trainer\.devices 1"),
    ],
)
def test_what_cannot_work_is_told_without_reading_data(
    tiny: TinyData, trainer: dict[str, Any], model: dict[str, Any], told: str
) -> None:
    nowhere = replace(tiny.config, answers=Path("no.json"), train=Path("no.json"), questions_per_clip=1)
    with pytest.raises(UserError, match=told):
        check_settings(nowhere, replace(ModelConfig(), **model), OPTIMIZER, replace(TRAINER, **trainer), [1])


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("frames", "at least 1, or null, got 0"),
        ("clips_per_batch", "at least 1, got 0"),
        ("questions_per_clip", "at least 1, got 0"),
        ("eval_clips_per_batch", "at least 1, got 0"),
        ("workers", "at least 0, got -1"),
    ],
)
def test_numbers_of_the_data_are_told_without_reading_it(tiny: TinyData, field: str, wanted: str) -> None:
    changed: dict[str, Any] = {field: -1 if field == "workers" else 0}
    with pytest.raises(UserError, match=rf"data\.{field} must be {wanted}"):
        check_settings(replace(tiny.config, train=Path("no.json"), **changed), MODEL, OPTIMIZER, TRAINER, [1])


def test_another_number_of_processes_than_were_started_is_told(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 2, "TORCHELASTIC_RUN_ID": "x"}.items():
        monkeypatch.setenv(name, str(value))
    check_settings(tiny.config, MODEL, OPTIMIZER, replace(TRAINER, devices=2), [1])
    for devices in (1, 4):
        trainer = replace(TRAINER, strategy="ddp", devices=devices)
        with pytest.raises(UserError, match="2 processes were started"):
            check_settings(replace(tiny.config, clips_per_batch=8), MODEL, OPTIMIZER, trainer, [1])


@pytest.mark.parametrize(
    "launched", [{"RANK": "0", "WORLD_SIZE": "2"}, {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}]
)
def test_several_processes_that_would_each_train_alone_are_told(
    tiny: TinyData, monkeypatch: pytest.MonkeyPatch, launched: dict[str, str]
) -> None:
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="2 processes were started, but devices x num_nodes is 1 x 1"):
        check_settings(tiny.config, MODEL, OPTIMIZER, TRAINER, [1])


def test_on_a_cpu_batches_are_not_made_for_the_gpu_that_is_there(
    tiny: TinyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = list[bool]()
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("examples.avqa.fit.train", lambda prepared, *_: made.append(prepared.for_gpu))
    train_tiny(tiny, tmp_path / "run")
    assert made == [False]
    assert trains_on_gpu(replace(TRAINER, accelerator="auto"))


def test_epochs_come_in_orders_of_their_own(tiny: TinyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, orders = AVQAModule.training_step, dict[int, list[int]]()

    def noting(module: AVQAModule, batch: Batch, batch_idx: int) -> object:
        orders.setdefault(module.current_epoch, []).extend(batch.numbers[batch.numbers >= 0].tolist())
        return step(module, batch, batch_idx)

    monkeypatch.setattr(AVQAModule, "training_step", noting)
    train_tiny(tiny, tmp_path / "run", trainer=replace(TRAINER, max_epochs=2))
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(14))
    assert orders[0] != orders[1]
