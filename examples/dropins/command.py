"""The command line that the drop-ins share: train every contender with every seed, print the table, write the JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from examples.avqa.errors import UserError
from examples.avqa.files import write_json
from examples.avqa.provenance import provenance

from .table import comparison
from .training import Answerer, Loss, Split, answer_loss, parameters, train

Measures = dict[str, float]


@dataclass(frozen=True)
class Contender:
    """One row of the comparison."""

    name: str
    build: Callable[[], Answerer]
    measure: Callable[[Answerer], Measures]
    """What is reported of the trained model, in [0, 1]."""
    loss: Loss = answer_loss


def parser(name: str, text: str, epochs: int) -> argparse.ArgumentParser:
    """The arguments that every drop-in has."""
    made = argparse.ArgumentParser(
        prog=f"python -m examples.dropins.{name}",
        description=text,
        epilog=f"Example: python -m examples.dropins.{name} --seeds 1 2 3 --out {name}.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--seeds", type=int, nargs="+", default=[1, 2, 3], metavar="N", help="of weights and batches (1 2 3)"
    )
    made.add_argument(
        "--epochs", type=positive, default=epochs, metavar="N", help=f"passes over the questions ({epochs})"
    )
    made.add_argument("--out", type=Path, metavar="FILE", help="also write the results here, as JSON")
    return made


def positive(text: str) -> int:
    """A count on the command line."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def compare(
    contenders: Sequence[Contender], train_split: Split, arguments: argparse.Namespace, caption: str
) -> dict[str, Any]:
    """Trains and measures; every contender sees the same batches of a seed.

    Args:
        contenders: rows of the table.
        train_split: what they are trained on.
        arguments: of `parser`.
        caption: what was measured, in a sentence, for below the table.

    Returns:
        The record that `--out` writes.
    """
    torch.set_num_threads(1)
    rows = []
    for contender in contenders:
        found: dict[str, list[float]] = {}
        for seed in arguments.seeds:
            torch.manual_seed(seed)
            model = contender.build()
            torch.manual_seed(seed)
            train(model, train_split, arguments.epochs, f"{contender.name}, seed {seed}", contender.loss)
            for name, value in contender.measure(model).items():
                found.setdefault(name, []).append(value)
        rows.append({"name": contender.name, "parameters": parameters(model.part), "measures": found})
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(arguments).items()}
    # Where files lie is this machine's affair.
    for place in ("out", "cache"):
        settings.pop(place, None)
    return {"caption": caption, "settings": settings, "provenance": provenance("cpu"), "rows": rows}


def run(main: Callable[[], dict[str, Any]]) -> int:
    """Runs a drop-in's command, prints its table; what the user can mend is one line and exit code 2."""
    try:
        record = main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(comparison(record))
    return 0


def finish(record: dict[str, Any], out: Path | None) -> dict[str, Any]:
    """Writes the record where that was asked for, and returns it."""
    if out is not None:
        write_json(out, record)
    return record
