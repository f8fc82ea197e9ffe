"""Writes the recorded figures into the README and the pages of docs/: `python -m examples.avqa.readme`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from examples.dropins.table import comparison

from .annotations import read_json
from .errors import UserError
from .files import write_text
from .measure.costs_table import costs_table
from .measure.loader_table import loader_table
from .measure.tables import parts, training_step
from .results import AccuracyTable, tables_from_json, to_markdown

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in ("concerts", "dropins", "reproduce")))
"""What holds blocks of recorded figures."""
RECORDED = Path(__file__).with_name("recorded")
DROPINS = ("top_frames", "video_backbone", "grounding")


def rendered(text: str) -> str:
    """A page with each `<!-- recorded: NAME -->` block filled from recorded/NAME.json.

    Raises:
        UserError: a block that nothing renders, or a recorded file that is missing or broken.
    """
    return re.sub(
        r"(<!-- recorded: ([^\n]*?) -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}{_block(match[2])}{match[3]}",
        text,
        flags=re.DOTALL,
    )


def accuracies(record: Any, path: Path) -> str:
    """What `compare --record` wrote: accuracies by question type."""
    return f"{to_markdown(tables_from_json(record['tables'], path))}\n{_runs(record)}"


def _runs(record: Any) -> str:
    seeds = record["settings"]["seed"]
    runs = f"{len(seeds)} seeds, mean ± standard deviation" if isinstance(seeds, list) else f"seed {seeds}"
    return f"Accuracy in per cent, {runs}. {recorded_on(record['provenance'])}"


SHORT = ("AV-Temp", "which instrument starts first or last", "All")
"""The rows of the README's table of accuracies."""


def accuracies_short(record: Any, path: Path) -> str:
    """Some rows of `accuracies`."""
    tables = {}
    for name, table in tables_from_json(record["tables"], path).items():
        rows = {row.name: row for row in table.rows}
        tables[name] = AccuracyTable(tuple(rows[wanted] for wanted in SHORT))
    return f"{to_markdown(tables)}\n{_runs(record)}"


def dropin(record: Any, path: Path) -> str:
    """What `examples.dropins.NAME --out` wrote."""
    return f"{comparison(record).rstrip()} {recorded_on(record['provenance'])}"


def recorded_on(made: Mapping[str, str]) -> str:
    """The sentence that says when, where and with what a record was made, from its `provenance`."""
    return (
        f"Recorded on {made['date']} at commit {made['commit']}: "
        f"{made['device']}, Python {made['python']}, torch {made['torch']}."
    )


RENDERERS: dict[str, Callable[[Any, Path], str]] = {
    "concerts": accuracies,
    "concerts_short": accuracies_short,
    "costs": lambda record, path: costs_table(record),
    **{f"dropins_{name}": dropin for name in DROPINS},
    "loader": loader_table,
    "training_step": lambda record, path: training_step(record),
    "training_step_parts": lambda record, path: parts(record),
}
"""Block -> what makes Markdown of the value in recorded/BLOCK.json; the path is for messages."""
_FILES = {
    "concerts_short": "concerts",
    "training_step_parts": "training_step",
    **{f"dropins_{name}": f"../../dropins/recorded/{name}" for name in DROPINS},
}
"""Blocks whose file is called otherwise, or lies elsewhere."""


def _block(name: str) -> str:
    if name not in RENDERERS:
        raise UserError(f"no block is called {name!r}; known are {', '.join(RENDERERS)}")
    path = RECORDED / f"{_FILES.get(name, name)}.json"
    value = read_json(path, "recorded results")
    try:
        return f"\n{RENDERERS[name](value, path).rstrip()}\n\n"
    # KeyError, IndexError: a part lacks. TypeError, AttributeError: a part is of another kind. ValueError: of no sense.
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path} is no record of {name} ({error!r}); make it again") from error


def main() -> int:
    """Rewrites the pages where a figure changed."""
    for page in PAGES:
        try:
            before = page.read_text(encoding="utf-8")
            after = rendered(before)
        except (UserError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        if after != before:
            write_text(page, after)
        print(f"{page.name}: {'written' if after != before else 'up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
