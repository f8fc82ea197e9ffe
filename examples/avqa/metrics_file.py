"""metrics.csv: one row an epoch. Lightning's own CSV logger drops the rows of the epochs before a resume."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from .files import write_text

MEASURED = ("train/loss", "val/loss", "val/accuracy")
COLUMNS = ("epoch", "lr", *MEASURED)


class MetricsFile(Callback):
    """Writes the file anew, whole, after each epoch.

    Args:
        path: the file; rows of earlier epochs that it holds are kept.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # In every process: the sums over processes are made when the metrics are asked for.
        metrics = trainer.callback_metrics
        if not trainer.is_global_zero:
            return
        epoch = trainer.current_epoch
        measured = {name: float(metrics[name]) for name in MEASURED if name in metrics}
        lr = trainer.optimizers[0].param_groups[0]["lr"]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for row in read_metrics(self._path) if int(row["epoch"]) < epoch)
        writer.writerow({"epoch": epoch, "lr": lr, **measured})
        write_text(self._path, text.getvalue())


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The rows, oldest first; none where there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
