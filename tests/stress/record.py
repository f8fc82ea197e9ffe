"""What full runs found, one JSON file an attack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from examples.avqa.files import write_json
from examples.avqa.provenance import provenance

from .attack import Attack, Outcome

RECORDED = Path(__file__).parent / "recorded"
NAMED = 20
"""How many failures a record holds in words."""


@dataclass(frozen=True)
class Record:
    """One run of an attack, and where it ran."""

    name: str
    amount: int
    unit: str
    tried: int
    failed: int
    failures: tuple[str, ...]
    measured: Mapping[str, str | int | float]
    notes: tuple[str, ...]
    seconds: float
    provenance: Mapping[str, str]


def made(attack: Attack, amount: int, outcome: Outcome, seconds: float) -> Record:
    """The record of a run that has just ended."""
    return Record(
        name=attack.name,
        amount=amount,
        unit=attack.unit,
        tried=outcome.tried,
        failed=len(outcome.failures),
        failures=outcome.failures[:NAMED],
        measured=dict(outcome.measured),
        notes=outcome.notes,
        seconds=round(seconds, 1),
        provenance=provenance("cpu"),
    )


def write(folder: Path, record: Record) -> Path:
    """Writes it, whole or not at all; returns the file."""
    path = folder / f"{record.name}.json"
    write_json(path, asdict(record))
    return path


def read(folder: Path, name: str) -> Record | None:
    """The record of an attack, or None where there is none.

    Raises:
        ValueError: the file is no such record.
    """
    path = folder / f"{name}.json"
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
        return Record(**{**value, "failures": tuple(value["failures"]), "notes": tuple(value.get("notes", ()))})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is no record of an attack ({error}); delete it and run the attack again") from error
