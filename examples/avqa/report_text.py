"""A report's words: the table in Markdown, and below it where every figure comes from and what is not alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .published import Published
from .report_runs import Group
from .results import AccuracyRow, AccuracyTable, markdown_row

PUBLISHED = ", published"


def report_tables(groups: Sequence[Group], beside: Published | None) -> dict[str, AccuracyTable]:
    """Column -> table: the groups, then the published systems."""
    tables = {group.label: group.table for group in groups}
    return tables | {f"{name}{PUBLISHED}": table for name, table in (beside.tables() if beside else {}).items()}


def mismatches(groups: Sequence[Group], beside: Published | None) -> list[str]:
    """Published numbers of questions that are not those of a group."""
    if beside is None or beside.count is None:
        return []
    told = []
    split = f"the published split ({beside.title})"
    for group in groups:
        rows = group.runs[0].table
        if rows["All"].count != beside.count:
            told.append(f"{group.name} answered {rows['All'].count} questions, {split} has {beside.count}")
        elif other := [name for name, count in beside.by_type.items() if rows[name].count != count]:
            told.append(f"{group.name} answered as many questions as {split} has, but others of {', '.join(other)}")
    return told


def markdown(groups: Sequence[Group], beside: Published | None, faults: Sequence[str]) -> str:
    """The table and the notes below it.

    Args:
        groups: our runs.
        beside: published figures, if any.
        faults: how questions differ, where they were set side by side all the same.
    """
    tables = report_tables(groups, beside)
    ours = [group.label for group in groups]
    counts = {tuple(row.count for row in tables[label].rows) for label in ours}
    alike = len(counts) == 1
    lines = [["type", *(["questions"] if alike else []), *tables]]
    lines.append(["---", *["---:"] * (len(lines[0]) - 1)])
    for name, rows in by_row(tables).items():
        shown = [
            "–" if row is None else row.cell if alike or column not in ours else f"{row.cell} ({row.count})"
            for column, row in rows.items()
        ]
        first = rows[ours[0]]
        cells = [name, *([str(first.count if first else 0)] if alike else []), *shown]
        bold = any(row is not None and row.kind in ("modality", "total") for row in rows.values())
        lines.append([f"**{cell}**" for cell in cells] if bold else cells)
    whole = "".join(map(markdown_row, lines))
    notes = "\n".join(f"- {note}" for note in _notes(groups, beside, faults, alike))
    return f"# {_title(beside)}\n\n{whole}\n{notes}\n"


def by_row(tables: Mapping[str, AccuracyTable]) -> dict[str, dict[str, AccuracyRow | None]]:
    """Row -> column -> the row there, or None; all rows of any table, in their order."""
    names = dict.fromkeys(row.name for table in tables.values() for row in table.rows)
    return {
        name: {column: next((row for row in table.rows if row.name == name), None) for column, table in tables.items()}
        for name in names
    }


def _title(beside: Published | None) -> str:
    return f"Results beside the published: {beside.title}" if beside else "Results"


def _notes(groups: Sequence[Group], beside: Published | None, faults: Sequence[str], alike: bool) -> list[str]:
    notes = [f"**These columns answered different questions and cannot be compared: {fault}.**" for fault in faults]
    several = any(len(group.runs) > 1 for group in groups)
    spread = "; mean ± sample standard deviation over runs" if several else ""
    notes.append(f"Accuracy in per cent{spread}{'' if alike else '; in brackets the number of questions'}.")
    if beside is not None:
        notes += [f"{name}{PUBLISHED}: {system.source}." for name, system in beside.systems.items()]
        notes.append(
            f"The published split ({beside.title}) has {beside.count} questions ({beside.count_source})."
            if beside.count is not None
            else f"How many questions the published split ({beside.title}) has is not recorded here: see that it is "
            "the same."
        )
        if any(system.accuracy.keys() >= set(beside.by_type) and beside.by_type for system in beside.systems.values()):
            notes.append("A published average of a modality is computed from its types and their numbers of questions.")
    notes += [f"{group.name}: {', '.join(str(run.folder) for run in group.runs)}." for group in groups]
    return notes
