"""Numbers that are none, put into one batch of a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from examples.avqa.module import AVQAModule

WHERE = ("the loss", "a gradient", "a weight", "the validation loss")


def step_of(where: str) -> str:
    """The method of `AVQAModule` that `poisoned` stands in for."""
    return "validation_step" if where == "the validation loss" else "training_step"


def poisoned(where: str, number: int, value: float, note: Callable[[list[int]], None]) -> Callable[..., Tensor]:
    """A step that puts `value` into the batch of this number.

    Args:
        where: one of `WHERE`.
        number: of the batch, counted from 0 over all epochs.
        value: what is put there.
        note: is given the places of the batch's questions in their file.
    """
    step, done = getattr(AVQAModule, step_of(where)), 0

    def poisoned_step(module: AVQAModule, batch: Any, batch_idx: int) -> Tensor:
        nonlocal done
        loss: Tensor = step(module, batch, batch_idx)
        done += 1
        if done - 1 != number:
            return loss
        note([place for place in batch.numbers.flatten().tolist() if place >= 0])
        weight = next(iter(module.model.parameters()))
        if where == "a gradient":
            weight.register_hook(lambda gradient: gradient * value)  # type: ignore[no-untyped-call]  # in torch
        elif where == "a weight":
            # After the gradients were looked at.
            module.trainer.optimizers[0].register_step_post_hook(lambda *_: _fill(weight, value))
        else:
            loss = loss + torch.tensor(value)
        return loss

    return poisoned_step


def _fill(weight: Tensor, value: float) -> None:
    weight.data.fill_(value)
