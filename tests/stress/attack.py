"""What an attack is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Area = Literal["Numerics", "Determinism", "Fuzzing", "Faults", "Security", "Mutation"]
AREAS: tuple[Area, ...] = ("Numerics", "Determinism", "Fuzzing", "Faults", "Security", "Mutation")


@dataclass(frozen=True)
class Defect:
    """Something that an attack broke, and that was mended."""

    failed: str
    """What went wrong then, for whoever uses it: a sentence without a full stop."""
    test: str
    """The regression test: `tests/folder/test_file.py::test_name`."""
    changelog: str
    """Words of its line in CHANGELOG.md."""


@dataclass(frozen=True)
class Run:
    """One run of an attack."""

    amount: int
    """How many of the attack's units to try: its whole list or budget, or a sample of it."""
    folder: Path
    """An empty folder of its own, removed afterwards."""
    tell: Callable[[int], None] = lambda done: None
    """To be called with the number that is done, for the progress bar."""
    seed: int = 713


@dataclass(frozen=True)
class Outcome:
    """What a run found."""

    tried: int
    failures: tuple[str, ...]
    """What broke, one text each, enough to repeat it. Empty where everything held."""
    measured: Mapping[str, str | int | float] = field(default_factory=dict)
    """Figures for the table, by name, such as the largest error or the most memory."""
    notes: tuple[str, ...] = ()
    """What the record keeps beside, in words, such as what is known to be left."""


@dataclass(frozen=True)
class Attack:
    """One row of docs/reliability.md."""

    name: str
    area: Area
    tried: str
    """What is tried, for the table."""
    holds: str
    """What holds, checked at every try, for the table."""
    run: Callable[[Run], Outcome]
    full: int
    """How many make a full run."""
    sample: int
    """How many the tests try: together all samples take less than three minutes."""
    unit: str = "inputs"
    defects: tuple[Defect, ...] = ()
