"""A Lightning callback that logs a router's statistics, and two figures at the end of every epoch.

    python -m examples.logging.lightning_callback --out runs/logging

It reads the routing from what `training_step` returns: {"loss": ..., "routing": ..., "lengths": ...}.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch.nn import functional as F
from torch.utils.data import DataLoader

from gaussian_moe import RoutingStatistics, load_balance_loss, routing_statistics
from gaussian_moe.plot import plot_history, plot_timeline

from .task import Batch, Model, sample


class RoutingLogger(L.Callback):
    """Statistics go wherever the trainer logs, as often as it logs; figures to its TensorBoard loggers."""

    def __init__(self) -> None:
        self.history: list[RoutingStatistics] = []
        self.outputs: Any = None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.outputs = outputs
        self.history.append(routing_statistics(outputs["routing"], lengths=outputs["lengths"]))
        pl_module.log_dict(self.history[-1].as_dict())

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        timeline = plot_timeline(self.outputs["routing"], 0, lengths=self.outputs["lengths"])
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_figure("routing/timeline", timeline, trainer.global_step)
                logger.experiment.add_figure("routing/history", plot_history(self.history), trainer.global_step)


class Answering(L.LightningModule):
    """The model of the synthetic task."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        logits, routing = self.model(batch)
        loss = F.cross_entropy(logits, batch.answer) + 0.01 * load_balance_loss(routing, lengths=batch.lengths)
        return {"loss": loss, "routing": routing, "lengths": batch.lengths}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def main(arguments: list[str] | None = None) -> None:
    """Reads the command line and trains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/logging"), help="where TensorBoard's files go")
    parser.add_argument("--steps", type=int, default=200)
    given = parser.parse_args(arguments)
    batches = [sample(64, torch.Generator().manual_seed(step)) for step in range(given.steps)]
    logger = TensorBoardLogger(given.out, name="lightning")
    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", logger=logger, callbacks=[RoutingLogger()], log_every_n_steps=10
    )
    # A list does for a data set; the type checker wants the name.
    trainer.fit(Answering(), DataLoader(batches, batch_size=None))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
