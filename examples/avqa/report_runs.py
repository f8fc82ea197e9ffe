"""The results that a report sets beside each other: groups of test folders, each group runs of one system."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .annotations import QUESTION_TYPES
from .errors import UserError
from .first_few import first_few
from .predicting import TEXT_ONLY, table
from .result_files import PREDICTIONS, TABLES
from .results import AccuracyTable, read_predictions, read_tables, summarise

_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Results:
    """What one folder holds."""

    folder: Path
    table: AccuracyTable
    asked: frozenset[tuple[str, str, str]] | None
    """Id, video and answer of every question; None where only the table is there."""


@dataclass(frozen=True)
class Group:
    """Runs of one system."""

    name: str
    runs: tuple[Results, ...]

    @property
    def table(self) -> AccuracyTable:
        """Mean and spread over the runs."""
        return summarise([run.table for run in self.runs])

    @property
    def label(self) -> str:
        """The name, with the number of runs where there are several."""
        return self.name if len(self.runs) == 1 else f"{self.name} ({len(self.runs)} runs)"


def read_groups(given: Sequence[str]) -> list[Group]:
    """Reads the folders that are named, in order.

    Args:
        given: FOLDER, NAME=FOLDER or NAME=PATTERN each; all of one NAME are runs of one system.

    Raises:
        UserError: nothing matches, a folder has no results or is named twice, or runs of a group answered different
            questions.
    """
    folders: dict[str, list[Path]] = {}
    for text in given:
        name, equals, pattern = text.partition("=")
        if not equals or Path(text).is_dir():
            name, pattern = _name(Path(text)), glob.escape(text)
            if name in folders:
                raise UserError(f"runs: two folders are called {name!r}; give names, such as {name}-2={text}")
        if not name:
            raise UserError(f"runs: {text!r} names nothing; give NAME=FOLDER")
        # Path.glob takes no absolute pattern.
        paths = map(Path, glob.glob(pattern, recursive=True))  # noqa: PTH207
        found = sorted(path for path in paths if path.is_dir())
        if not found:
            raise UserError(f"runs: no folder matches {pattern if equals else text}; name folders that test wrote")
        folders.setdefault(name, []).extend(found)
    _check_folders([folder for group in folders.values() for folder in group])
    groups = [Group(name, tuple(map(_read, group))) for name, group in folders.items()]
    for group in groups:
        for run in group.runs[1:]:
            if difference := different(group.runs[0], run):
                raise UserError(f"runs: {group.name} is no group of like runs: {difference}; give them two names")
    return groups


def different(one: Results, other: Results) -> str:
    """How the questions of two results differ; empty where they do not."""
    counts = [[(row.name, row.count) for row in results.table.rows] for results in (one, other)]
    totals = [results.table["All"].count for results in (one, other)]
    if totals[0] != totals[1]:
        return f"{one.folder} holds {totals[0]} questions, {other.folder} {totals[1]}"
    both = one.asked is not None and other.asked is not None
    if counts[0] != counts[1] or (both and one.asked != other.asked):
        return f"{one.folder} and {other.folder} hold other questions, {totals[0]} each"
    return ""


def _check_folders(folders: Iterable[Path]) -> None:
    seen: set[Path] = set()
    missing = []
    for folder in folders:
        if folder.resolve() in seen:
            raise UserError(f"runs: {folder} is named twice; it would count as two runs")
        seen.add(folder.resolve())
        if not any((folder / name).is_file() for name in (PREDICTIONS, TABLES)):
            missing.append(str(folder))
    if missing:
        raise UserError(
            f"runs: neither {PREDICTIONS} nor {TABLES} in {', '.join(missing)}; "
            "make them with: python -m examples.avqa test --run RUN, and name RUN/test"
        )


def _read(folder: Path) -> Results:
    path = folder / PREDICTIONS
    if path.is_file():
        predictions = read_predictions(path)
        asked = ((p.question.question_id, p.question.video_id, p.question.answer) for p in predictions)
        return Results(folder, table(predictions), frozenset(asked))
    path = folder / TABLES
    systems = {name: one for name, one in read_tables(path).items() if name != TEXT_ONLY}
    if len(systems) != 1:
        raise UserError(f"{path} holds {len(systems)} systems ({', '.join(systems)}); name a folder of one")
    (only,) = systems.values()
    if any(row.runs != 1 for row in only.rows):
        raise UserError(f"{path} sums up several runs; name the folders of the runs themselves")
    names = {row.name for row in only.rows}
    if missing := [name for name in ("All", *QUESTION_TYPES.values()) if name not in names]:
        raise UserError(f"{path} has no row {', '.join(first_few(missing))}; it wants what test or evaluate write")
    return Results(folder, only, None)


def _name(folder: Path) -> str:
    """RUN for RUN/test, else the folder's own name."""
    folder = folder.resolve()
    return folder.parent.name if folder.name in _SPLITS else folder.name
