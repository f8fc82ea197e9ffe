"""Markdown of a recorded comparison of loaders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_NAMES = {
    "published": "one float32 `.npy` a feature, read for every question",
    "ours, folder": "the same files, our loader",
    "ours, store": "packed store, our loader",
}


def loader_table(record: Any, path: Path) -> str:
    """One row a way of reading, and where the figures come from.

    Args:
        record: what `measure.loader --out` wrote.
        path: where it was written, for messages.

    Raises:
        KeyError, IndexError, TypeError: it is no such record.
    """
    rows, settings, made = record["rows"], record["settings"], record["provenance"]
    base = {row["case"]: row["questions_per_s"][0] for row in rows if row["way"] == "published"}
    cases = list(base)
    found = {(row["case"], row["way"]): row["questions_per_s"] for row in rows}
    sizes = {"published": record["bytes"]["features"], "ours, folder": record["bytes"]["features"]}
    sizes["ours, store"] = record["bytes"]["store"]
    head = ["questions a second", *cases, "GB on disk"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for way, name in _NAMES.items():
        cells = []
        for case in cases:
            median, low, high = found[case, way]
            cells.append(f"{median:,.0f} ({low:,.0f} … {high:,.0f}), {median / base[case]:.1f}×")
        lines.append([name, *cells, f"{sizes[way] / 1e9:.2f}"])
    markdown = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        f"{markdown}\n\nMedian (20th … 80th percentile) of {settings['rounds']} rounds that take turns, warm cache, up "
        f"to a float32 batch on the CPU, {settings['threads']} threads. {settings['videos']} synthetic videos of the "
        f"published sizes, {settings['questions_per_video']} questions each. Random order: batches of "
        f"{settings['batch']} questions. Evaluation: published, a clip is read for each of its questions; ours, once "
        f"for all. Recorded on {made['date']} at commit {made['commit']}: {made['device']}, Python {made['python']}, "
        f"torch {made['torch']}."
    )
