"""Markdown of a recorded training step: times of the implementations, and where ours goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NAMES = {"published": "published computation", "ours": "this repository"}


def training_step(record: Mapping[str, Any]) -> str:
    """One row an implementation, and where the figures come from.

    Args:
        record: what `training_step --out` wrote.

    Raises:
        KeyError, TypeError: it is no such record.
    """
    rows = record["rows"]
    base = {row["precision"]: row["seconds"][0] for row in rows if row["implementation"] == "published" and _timed(row)}
    lines = []
    for row in rows:
        name = NAMES[row["implementation"]] + (", compiled" if row["compiled"] else "")
        if not _timed(row):
            lines.append([name, row["precision"], f"no number: {row['fault']}", "–", "–", "–"])
            continue
        median, low, high = (f"{1e3 * seconds:,.1f}" for seconds in row["seconds"])
        than = base.get(row["precision"])
        faster = "–" if than is None else f"{than / row['seconds'][0]:.2f}×"
        peak = "–" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**20:,.0f}"
        error = f"{max(row['loss_error'], row['gradient_error']):.0e}"
        lines.append([name, row["precision"], f"{median} ({low} … {high})", faster, peak, error])
    header = ["implementation", "precision", "ms a step", "times as fast", "peak MiB", "error"]
    return f"{_markdown(header, lines, 2)}\n{_caption(record)}\n"


def parts(record: Mapping[str, Any]) -> str:
    """Where the time of our step goes; empty where that was not recorded.

    Args:
        record: what `training_step --profile --out` wrote.

    Raises:
        KeyError, TypeError: it is no such record.
    """
    found = record["profile"]
    if not found:
        return ""
    total = sum(share["seconds"] for share in found)
    lines = [
        [
            share["part"],
            share["pass"],
            f"{1e3 * share['seconds']:,.1f}",
            f"{100 * share['seconds'] / total:.0f} %",
            ", ".join(f"`{name}` {1e3 * spent:,.1f}" for name, spent, _ in share["operators"][:3]),
        ]
        for share in found
    ]
    return _markdown(["part", "pass", "ms", "of the step", "most expensive operators, ms"], lines, 2)


def _caption(record: Mapping[str, Any]) -> str:
    made, settings = record["provenance"], record["settings"]
    sizes = settings["sizes"]
    threads = f", {settings['threads']} threads" if settings["device"] == "cpu" else ""
    return (
        "A training step is forward, cross-entropy, backward and Adam, dropout on, on synthetic features in memory: "
        f"B {sizes['B']}, T {sizes['T']}, {sizes['N']} patches, {sizes['L']} words, D {sizes['D']}, E {sizes['E']}, "
        f"K {sizes['K']}. Median (20th … 80th percentile) of {settings['rounds']} rounds in which all take turns; the "
        "error is the larger of loss and gradients against the published computation in float64, accepted up to twice "
        f"the published one's own ({_bounds(record)}). "
        f"Recorded on {made['date']} at commit {made['commit']}: {made['device']}{threads}, "
        f"Python {made['python']}, torch {made['torch']}."
    )


def _bounds(record: Mapping[str, Any]) -> str:
    return " and ".join(f"{limit:.0e} in {precision}" for precision, limit in record["bounds"].items())


def _timed(row: Mapping[str, Any]) -> bool:
    return row["seconds"] is not None


def _markdown(header: Sequence[str], lines: Sequence[Sequence[str]], text_columns: int) -> str:
    """A table; after the first columns numbers, which stand at the right."""
    rule = [" --- " if place < text_columns else " ---: " for place in range(len(header))]
    rows = [f"| {' | '.join(cells)} |" for cells in (header, *lines)]
    return "\n".join([rows[0], f"|{'|'.join(rule)}|", *rows[1:]]) + "\n"
