"""Markdown of what a drop-in measured: one row a contender, mean ± standard deviation over the seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any


def comparison(record: Mapping[str, Any]) -> str:
    """The table and, below it, how it was made.

    Args:
        record: what `--out` wrote.

    Raises:
        KeyError, TypeError: it is no such record.
    """
    rows = record["rows"]
    columns = list(rows[0]["measures"])
    lines = [["part", "parameters", *columns], ["---", *["---:"] * (len(columns) + 1)]]
    for row in rows:
        lines.append([row["name"], f"{row['parameters']:,}", *(spread(row["measures"][name]) for name in columns)])
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{table}\n\n{record['caption']} {_seeds(record['settings']['seeds'])}\n"


def spread(values: Sequence[float]) -> str:
    """Per cent."""
    middle = f"{100 * mean(values):.1f}"
    return middle if len(values) == 1 else f"{middle} ± {100 * stdev(values):.1f}"


def _seeds(seeds: Sequence[int]) -> str:
    return f"Seed {seeds[0]}." if len(seeds) == 1 else f"{len(seeds)} seeds, mean ± standard deviation."
