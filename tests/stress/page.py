"""docs/reliability.md's tables, from the attacks and their records."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from examples.avqa.files import write_text

from .attack import AREAS, Attack
from .record import RECORDED, Record, read

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
COLUMNS = ("tried", "how many", "what failed at first", "what holds now", "to repeat it")


def cell(text: str) -> str:
    """Text that cannot end a cell."""
    return text.replace("|", "\\|").replace("\n", " ")


def row(attack: Attack, record: Record | None) -> str:
    """One attack; one that was not run in full says so."""
    failed = "; ".join(f"{defect.failed} ([test]({link(defect.test)}))" for defect in attack.defects)
    count, holds = "not run in full yet", attack.holds
    if record is not None:
        count = f"{record.tried:,} {record.unit}"
        measured = "; ".join(f"{name}: {value}" for name, value in record.measured.items())
        holds = f"{holds}{f' ({measured})' if measured else ''}"
        if record.failed:
            holds = f"**{record.failed:,} of {record.tried:,} fail**, such as: {record.failures[0]}"
    cells = [
        attack.tried,
        count,
        failed or "nothing",
        holds,
        f"`python -m tests.stress run {attack.name}`",
    ]
    return f"| {' | '.join(cell(text) for text in cells)} |"


def link(test: str) -> str:
    """From the page to a test's file."""
    return f"../{test.partition('::')[0]}"


def tables(found: Iterable[Attack], folder: Path = RECORDED) -> str:
    """A table for each area, and where the records were made."""
    rows: dict[str, list[str]] = {area: [] for area in AREAS}
    places = set[str]()
    for attack in found:
        record = read(folder, attack.name)
        rows[attack.area].append(row(attack, record))
        if record is None:
            continue
        made = record.provenance
        places.add(f"{made['date']}, commit {made['commit']}: {made['device']}, torch {made['torch']}")
    lines = list[str]()
    for area in filter(rows.__getitem__, AREAS):
        head = [f"| {' | '.join(COLUMNS)} |", "| --- | ---: | --- | --- | --- |"]
        lines += [f"### {area}", "", *head, *rows[area], ""]
    return "\n".join([*lines, f"Recorded on {'; '.join(sorted(places))}."])


def filled(text: str, made: str) -> str:
    """A page with its block replaced.

    Raises:
        ValueError: the page does not have the block once.
    """
    pattern = r"(<!-- recorded: reliability -->\n).*?(<!-- end -->)"
    text, count = re.subn(pattern, lambda match: f"{match[1]}\n{made}\n\n{match[2]}", text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"there must be one block <!-- recorded: reliability --> ... <!-- end -->, there are {count}")
    return text


def update(found: Iterable[Attack]) -> bool:
    """Writes the page; returns whether that changed it."""
    before = PAGE.read_text(encoding="utf-8")
    after = filled(before, tables(found))
    if after != before:
        write_text(PAGE, after)
    return after != before
