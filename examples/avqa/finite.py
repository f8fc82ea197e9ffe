"""Stops training at the first number that is none, before it reaches a checkpoint, and names the questions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor
from torch.distributed.tensor import DTensor

from .annotations import Question
from .data import Batch
from .distributed import processes, summed
from .errors import UserError
from .first_few import first_few

SMALLEST_SCALE = 1.0
"""Under 16-mixed the loss is multiplied by a scale, and steps whose gradients overflow are left out while a scale is
found. Below this one they overflow for another reason."""


class _Look(NamedTuple):
    """What was looked at; a GPU may still compute whether it is bad."""

    what: str
    bad: Tensor
    """[2] bool, on the CPU: in any process, in this one."""
    ready: torch.cuda.Event | None
    """When `bad` is there."""
    questions: Sequence[Question]
    numbers: Sequence[Tensor]
    """Of the batches that it is about: places in `questions`, or -1."""
    epoch: int
    step: int
    lr: float


class Finite(Callback):
    """Raises UserError where the loss, a gradient or a weight is NaN or infinite.

    On a CPU before the step is taken. A GPU is asked without waiting for it: the error may come a step later, but
    before any checkpoint is written.

    Args:
        questions: by split, as batches number them.
    """

    def __init__(self, questions: Mapping[str, Sequence[Question]]) -> None:
        self._questions = questions
        self._numbers: list[Tensor] = []
        self._looks: list[_Look] = []
        self._validated: list[tuple[Tensor, Tensor]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Notes which questions are asked."""
        self._numbers.append(batch.numbers)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Looks at the loss."""
        self._look(trainer, "the loss", ~loss.detach().isfinite(), self._numbers[-1:])

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        """Looks at the gradients, which may be of several batches."""
        numbers, self._numbers = self._numbers, []
        scaler = _scaler(trainer)
        if scaler is None or scaler.get_scale() < SMALLEST_SCALE:
            gradients = (weight.grad for weight in pl_module.parameters() if weight.grad is not None)
            self._look(trainer, "a gradient", _any_bad(gradients, pl_module.device), numbers)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int, *_: int
    ) -> None:
        """Notes the loss."""
        self._validated.append((~outputs.isfinite(), batch.numbers))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at the losses, before they choose a best checkpoint."""
        validated, self._validated = self._validated, []
        if validated:
            bad = torch.stack([bad for bad, _ in validated])
            numbers = [numbers for (_, numbers), is_bad in zip(validated, bad.tolist(), strict=True) if is_bad]
            self._look(trainer, "the validation loss", bad.any(), numbers, "val")
            self._answer()

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Waits for what a GPU still computes, and looks at the weights: to be called before a checkpoint is written.

        Raises:
            UserError: something is NaN or infinite.
        """
        self._look(trainer, "a weight", _any_bad(pl_module.parameters(), pl_module.device), [])
        self._answer()

    def _look(self, trainer: Trainer, what: str, here: Tensor, numbers: Sequence[Tensor], split: str = "train") -> None:
        self._answer()
        # All processes stop: none may wait for one that did.
        anywhere = here if processes()[1] == 1 else summed(here.to(torch.int32)) > 0
        bad, ready = torch.stack((anywhere, here)), None
        if bad.device.type == "cuda":
            bad = torch.empty(2, dtype=torch.bool, pin_memory=True).copy_(bad, non_blocking=True)
            ready = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch does not type it
            ready.record()
        lr = float(trainer.optimizers[0].param_groups[0]["lr"])
        place = trainer.current_epoch, trainer.global_step
        self._looks.append(_Look(what, bad, ready, self._questions[split], numbers, *place, lr))
        if ready is None:
            self._answer()

    def _answer(self) -> None:
        looks, self._looks = self._looks, []
        for look in looks:
            if look.ready is not None:
                look.ready.synchronize()
            anywhere, here = look.bad.tolist()
            if anywhere:
                raise UserError(_said(look, here))


def _said(look: _Look, here: bool) -> str:
    asked = [look.questions[place] for numbers in look.numbers for place in numbers.flatten().tolist() if place >= 0]
    named = first_few([f"question {question.question_id} about video {question.video_id}" for question in asked], 8)
    about = f", at {', '.join(named)}" if here and named else ""
    return (
        f"training: {look.what} is NaN or infinite in epoch {look.epoch}, step {look.step}, learning rate "
        f"{look.lr:.3g}{about}; what is saved is of before. Lower optimizer.lr, set trainer.gradient_clip_val or a "
        "wider trainer.precision in another run folder, or look for what is wrong with these videos by check --values "
        "true"
    )


def _scaler(trainer: Trainer) -> torch.amp.GradScaler | None:
    plugin = trainer.precision_plugin
    return plugin.scaler if isinstance(plugin, MixedPrecision) else None


def _any_bad(tensors: Iterable[Tensor], device: torch.device) -> Tensor:
    """[] bool, whether any number is NaN or infinite. The largest one is: a sum of squares would overflow."""
    parts = [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors]
    parts = [part.detach() for part in parts if part.numel()]
    if not parts:
        return torch.zeros((), dtype=torch.bool, device=device)
    largest = torch._foreach_norm(parts, float("inf"))
    return ~torch.stack([value.float() for value in largest]).isfinite().all()
