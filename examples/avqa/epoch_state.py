"""Random numbers that depend on seed, epoch and process alone, and the state of an epoch that is not over."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from .batches import GlobalBatches
from .distributed import gathered, processes
from .errors import UserError
from .question_mean import QuestionMean

KEY = "within_epoch"


class EpochState(Callback):
    """Seeds dropout and noise at the start of each epoch; saves and restores what each process is in the middle of.

    A run that resumes after an epoch draws what it would have drawn. One that resumes within an epoch gets back every
    process's random state and its part of the training loss, and begins at the batch where the other stopped.

    Args:
        seed: of the run.
        loss: the epoch's training loss so far.
        batches: the epoch's batches.
    """

    def __init__(self, seed: int, loss: QuestionMean, batches: GlobalBatches) -> None:
        self._seed, self._loss, self._batches = seed, loss, batches
        self._done = 0
        self._stored: dict[str, Tensor] | None = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seeds; not called where an epoch is resumed in its middle."""
        rank, count = processes()
        torch.manual_seed((self._seed * 1_000_003 + trainer.current_epoch) * count + rank)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the state of all processes to the checkpoint, as tensors."""
        device = pl_module.device
        own = {"cpu": torch.get_rng_state(), "total": self._loss.total, "count": self._loss.count}
        if device.type == "cuda":
            own["cuda"] = torch.cuda.get_rng_state(device)
        place = torch.tensor([trainer.current_epoch, self._done])
        checkpoint[KEY] = {"place": place} | {name: gathered(value, device) for name, value in own.items()}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Takes the state; the loop decides whether an epoch is resumed."""
        self._stored = checkpoint.get(KEY)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tells the batches that are done."""
        if self._stored is not None:
            epoch, done = self._stored["place"].tolist()
            self._batches.begin_at = (epoch, done)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts, before a checkpoint is written."""
        self._done = batch_idx + 1

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Restores the state before the first batch after a resume, where that is not an epoch's first."""
        stored, self._stored = self._stored, None
        if stored is None or batch_idx == 0:
            return
        rank, count = processes()
        if len(stored["cpu"]) != count:
            raise UserError(
                f"trainer.devices: the run stopped within an epoch of {len(stored['cpu'])} processes, and cannot go on "
                f"with {count}"
            )
        # Copies: torch reads a state from the start of its storage.
        torch.set_rng_state(stored["cpu"][rank].clone())
        if "cuda" in stored and pl_module.device.type == "cuda":
            torch.cuda.set_rng_state(stored["cuda"][rank].clone(), pl_module.device)
        self._loss.total.copy_(stored["total"][rank])
        self._loss.count.copy_(stored["count"][rank])
