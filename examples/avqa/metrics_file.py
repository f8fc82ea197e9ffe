"""metrics.csv: one row an epoch. Lightning's own CSV logger drops the rows of the epochs before a resume."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from .errors import UserError
from .files import write_text

MEASURED = ("train/loss", "val/loss", "val/accuracy")
COLUMNS = ("epoch", "lr", *MEASURED)
_DIGITS = 9
"""Of the number of an epoch."""


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
    """The rows, oldest first; none where there is no file.

    Raises:
        UserError: it is no file of metrics.
    """
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        for row in rows:
            if (
                set(row) != set(COLUMNS)
                or None in row.values()
                or not row["epoch"].isascii()
                or not row["epoch"].isdecimal()
            ):
                raise ValueError("a row is not one of an epoch")
            # A run may be told not to validate after every epoch. A loss may be NaN; an accuracy may not.
            for name in ("lr", *MEASURED):
                if row[name] and not (float(row[name]) >= 0 or name.endswith("loss")):
                    raise ValueError(f"{name} is {row[name]!r}")
            if len(row["epoch"]) > _DIGITS or not 0 <= float(row["val/accuracy"] or 0) <= 1:
                raise ValueError("a row is not one of an epoch")
    except (ValueError, AttributeError, TypeError, csv.Error) as error:
        raise UserError(f"{path} is no metrics.csv of a run ({error}); delete it, its epochs are lost") from None
    return rows
