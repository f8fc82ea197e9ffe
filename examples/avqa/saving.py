"""best.ckpt and last.ckpt: when they are written, and how. Lightning's ModelCheckpoint writes the last only with a new
best, and not in one step."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from .files import written_whole

BEST, LAST = "best.ckpt", "last.ckpt"


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes beside the target, then renames. An archive that is given a file does not hold its temporary name."""
        with written_whole(Path(path)) as temporary, temporary.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except BaseException as error:  # also what a signal's handler raises, which can come before any line
                # An archive that was left writes its end when it is destroyed; into a closed file, that is the end of
                # the process.
                traceback.clear_frames(error.__traceback__)
                # Of a full disk torch says that a position was unexpected.
                if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise


class Checkpoints(Checkpoint):
    """Writes best.ckpt, the weights alone, after a validation that was better than all before; last.ckpt, all that a
    run needs to go on, after each epoch, and after each `steps` optimizer steps.

    last.ckpt is the later of the two and knows the score of best.ckpt. A run that is killed between them does the
    epoch again, with the same outcome.

    Args:
        out: the run folder.
        monitor: the metric that chooses the best; the higher the better.
        steps: optimizer steps between two writings of last.ckpt within an epoch; None for none.
        check: called before each writing; raises where the model is not worth it.
    """

    def __init__(
        self, out: Path, monitor: str, steps: int | None, check: Callable[[Trainer, LightningModule], None]
    ) -> None:
        self._out, self._monitor, self._steps, self._check = out, monitor, steps, check
        self._best: float | None = None
        self._saved_step = 0

    def state_dict(self) -> dict[str, Any]:
        """The score of best.ckpt."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self._best = state_dict["best"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lets a run that had stopped early, but was killed before it had ended, end."""
        self._saved_step = trainer.global_step
        for stopping in trainer.early_stopping_callbacks:
            if stopping.wait_count >= stopping.patience:
                trainer.should_stop = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves within an epoch. After its last batch the epoch's end will save."""
        if self._steps is None or trainer.global_step == self._saved_step:
            return
        last = batch_idx + 1 >= trainer.num_training_batches
        if not last and trainer.global_step % self._steps == 0:
            self._save_last(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves a new best."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        score = float(trainer.callback_metrics[self._monitor])
        if self._best is None or score > self._best:
            self._check(trainer, pl_module)
            self._best = score
            trainer.save_checkpoint(self._out / BEST, weights_only=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves what the next epoch begins with."""
        self._save_last(trainer, pl_module)

    def _save_last(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(trainer, pl_module)
        self._saved_step = trainer.global_step
        trainer.save_checkpoint(self._out / LAST, weights_only=False)
