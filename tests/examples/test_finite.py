"""Training stops at a number that is none: before a checkpoint, with the questions named."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision

from examples.avqa.annotations import load_questions, load_vocabulary
from examples.avqa.errors import UserError
from examples.avqa.finite import Finite
from examples.avqa.module import AVQAModule
from tests.examples.poison import poisoned, step_of
from tests.examples.test_resume import assert_same_run
from tests.examples.tiny_run import OPTIMIZER, TRAINER, TinyData, train_tiny

RUN = {"trainer": replace(TRAINER, max_epochs=2, checkpoint_steps=1)}


@contextmanager
def _poisoned(where: str, number: int, value: float) -> Iterator[list[int]]:
    """Puts a value into one batch of the run inside; gives the places of its questions."""
    asked = list[int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AVQAModule, step_of(where), poisoned(where, number, value, asked.extend))
        yield asked


@pytest.mark.parametrize(
    ("where", "number", "value"),
    [
        ("the loss", 5, math.nan),
        pytest.param("the loss", 0, math.inf, marks=pytest.mark.slow),
        pytest.param("a gradient", 6, math.nan, marks=pytest.mark.slow),
        pytest.param("the validation loss", 1, math.inf, marks=pytest.mark.slow),
    ],
)
def test_training_stops_before_a_checkpoint_and_names_the_questions(
    tiny: TinyData, tmp_path: Path, where: str, number: int, value: float
) -> None:
    with _poisoned(where, number, value) as asked, pytest.raises(UserError) as told:
        train_tiny(tiny, tmp_path / "run", **RUN)
    message = str(told.value)
    assert message.startswith(f"training: {where} is NaN or infinite in epoch ")
    split = "val" if where == "the validation loss" else "train"
    questions = load_questions(tiny.root / f"{split}.json", load_vocabulary(tiny.config.answers))
    assert asked
    for place in asked:
        assert f"question {questions[place].question_id} about video {questions[place].video_id}" in message
    _assert_finite(tmp_path / "run")
    # What was saved before goes on as if nothing had been.
    whole = train_tiny(tiny, tmp_path / "whole", **RUN)
    assert_same_run(train_tiny(tiny, tmp_path / "run", **RUN), whole)


def test_a_rate_that_makes_weights_infinite_is_told(tiny: TinyData, tmp_path: Path) -> None:
    # Weights of that size have no squares in single precision.
    with pytest.raises(UserError, match=r"is NaN or infinite in epoch 0, step \d, learning rate 1e\+30"):
        train_tiny(tiny, tmp_path / "run", optimizer=replace(OPTIMIZER, lr=1e30), **RUN)
    _assert_finite(tmp_path / "run")


def _assert_finite(run: Path) -> None:
    for path in run.glob("*.ckpt"):
        state = torch.load(path, weights_only=True)["state_dict"]
        assert all(bool(tensor.isfinite().all()) for tensor in state.values())


def _trainer(scale: float | None) -> Any:
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.1}])
    plugin = None
    if scale is not None:
        plugin = MixedPrecision("16-mixed", "cuda", scaler=torch.amp.GradScaler("cpu", init_scale=scale))
        plugin.scaler.scale(torch.ones(()))  # type: ignore[union-attr]  # it was given; a scale is made at first use
    return SimpleNamespace(optimizers=[optimizer], current_epoch=0, global_step=3, precision_plugin=plugin)


@pytest.mark.parametrize("scale", [65536.0, 1.0])
def test_a_step_that_half_precision_leaves_out_is_no_fault(scale: float) -> None:
    module = torch.nn.Linear(2, 2)
    module.weight.grad = torch.full((2, 2), math.inf)
    module.device = torch.device("cpu")  # type: ignore[assignment]  # as Lightning's have
    Finite({"train": []}).on_before_optimizer_step(_trainer(scale), module, None)  # type: ignore[arg-type]  # as little as it asks of one


@pytest.mark.parametrize("scale", [None, 0.5])
def test_gradients_that_no_scale_mends_are_a_fault(scale: float | None) -> None:
    module = torch.nn.Linear(2, 2)
    module.weight.grad = torch.full((2, 2), math.inf)
    module.device = torch.device("cpu")  # type: ignore[assignment]  # as Lightning's have
    with pytest.raises(UserError, match=r"a gradient is NaN or infinite in epoch 0, step 3, learning rate 0\.1;"):
        Finite({"train": []}).on_before_optimizer_step(_trainer(scale), module, None)  # type: ignore[arg-type]  # as little as it asks of one


def test_large_finite_gradients_are_none() -> None:
    module = torch.nn.Linear(2, 2)
    # Their squares are infinite in single precision.
    module.weight.grad = torch.full((2, 2), 1e30)
    module.device = torch.device("cpu")  # type: ignore[assignment]  # as Lightning's have
    Finite({"train": []}).on_before_optimizer_step(_trainer(None), module, None)  # type: ignore[arg-type]  # as little as it asks of one
