"""Writes docs/features.md and the README's short table from docs/features.json: `python -m docs.features`.

A source is a path in the column's repository, with lines where it has them: `src/a.py#L3-L7`. A cell that was found by
searching has `searched`, an extended regular expression that nothing in its source matches, case aside.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "docs" / "features.json"
PAGE = ROOT / "docs" / "features.md"
README = ROOT / "README.md"

SYMBOLS = {"yes": "✓", "partly": "(✓)", "no": "–", "not applicable": "n/a", "not checked": "?", "being built": "…"}
"""Value of a cell -> what the tables show. "being built" is for this library's cells only."""

INTRODUCTION = """\
# Features

What the layers have, beside QA-TIGER's published code and libraries for mixtures of experts. This page is written from
`docs/features.json` by `python -m docs.features`.

## Which library for what

- **A question, or another query, about a clip or any other sequence, pooled to one vector, where it matters *when* the
  answer is:** this library. It takes padding, times in seconds and many questions a clip, and returns where it looked.
- **The published training, line by line, or the authors' checkpoint in the code that it was made with:**
  [QA-TIGER](https://github.com/AIM-SKKU/QA-TIGER). A file of weights under its names loads here, too, in both orders of
  experts ([how](reproduce.md#4-released-weights)). Its answers depend on the batch, and it knows neither padding nor
  lengths.
- **A feed-forward layer in a language model, where each token chooses its experts:** not this library, which routes
  once for each question. scattermoe is small and in Triton, without expert parallelism; megablocks and Tutel spread
  experts over many GPUs and know capacities, Tutel runs on CPUs as well; Liger-Kernel patches Hugging Face models;
  torchtitan is a whole trainer; st-moe-pytorch is plain PyTorch to read and to change.
- **One vector a clip, and time does not matter:** the mean over frames, which needs no library. Where time matters it
  lost in [the drop-ins](dropins.md).
- **When a thing that the question names happens, learnt from answers alone:** plain attention, and a span cut from its
  weights. `TemporalMoE` in its place was worse, Gaussians as a mask over it as good: [the drop-ins](dropins.md) again.

## How to read the tables

| | means |
|---|---|
| ✓ | yes; for this library a test shows it, named below the table |
| (✓) | partly: a part of it, or plain PyTorch gives it and the project neither says nor tests so |
| – | no |
| n/a | not applicable: the question makes no sense for that layer, for the reason given |
| ? | not checked, or to be found out from its code |
| … | being built: no test yet |

A symbol leads to the lines that show it, at the commit that was looked at. Where "no" was found by searching, the
pattern is named: `git grep -nEi PATTERN COMMIT -- PATH` finds nothing. "Tried here" means that `TempMoE`, as it stands
in that file, was run on a CPU with torch 2.13. The libraries for mixtures of experts route tokens of language models:
that they pool no clip is no fault of theirs, and [the last table](#{last}) has what they do and this library does not.
"""


@dataclass(frozen=True)
class Column:
    """A project that is compared: its repository at a commit."""

    id: str
    name: str
    url: str
    commit: str
    version: str
    looked_at: str

    def link(self, source: str) -> str:
        """The address of a file, its lines or a folder at the commit."""
        kind = "blob" if PurePosixPath(source.partition("#")[0]).suffix else "tree"
        return f"{self.url}/{kind}/{self.commit}/{source}"


@dataclass(frozen=True)
class Cell:
    """What a project has of a feature, and where one sees it."""

    value: str
    note: str
    sources: tuple[str, ...]
    searched: str = ""


@dataclass(frozen=True)
class Ours:
    """What this library has of a feature: tests as `path::function`, or the name of what is being built."""

    value: str
    note: str
    tests: tuple[str, ...]
    feature: str = ""


@dataclass(frozen=True)
class Row:
    """A feature."""

    id: str
    group: str
    title: str
    readme: bool
    ours: Ours
    others: dict[str, Cell]


@dataclass(frozen=True)
class Features:
    """The whole record."""

    date: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def load(path: Path = RECORD) -> Features:
    """The record.

    Raises:
        ValueError: a value that no symbol stands for, or a row that does not name every column once.
    """
    record = json.loads(path.read_text(encoding="utf-8"))
    columns = tuple(Column(**column) for column in record["columns"])
    rows = tuple(_row(row) for row in record["rows"])
    for row in rows:
        values = {cell.value for cell in row.others.values()}
        if row.ours.value not in SYMBOLS or not values < set(SYMBOLS) or "being built" in values:
            raise ValueError(f"{path}: row {row.id!r} has a value that is none of {', '.join(SYMBOLS)}")
        if list(row.others) != [column.id for column in columns]:
            raise ValueError(f"{path}: row {row.id!r} must name every column, in their order; it has {[*row.others]}")
    return Features(record["date"], columns, rows)


def _row(row: dict[str, Any]) -> Row:
    ours = Ours(**{**row["ours"], "tests": tuple(row["ours"]["tests"])})
    others = {name: _cell(**cell) for name, cell in row["others"].items()}
    return Row(row["id"], row["group"], row["title"], row["readme"], ours, others)


def _cell(value: str, note: str, source: str | list[str], searched: str = "") -> Cell:
    return Cell(value, note, (source,) if isinstance(source, str) else tuple(source), searched)


def page(features: Features) -> str:
    """The page: for each group a table of symbols, and beneath it every cell's reason and source."""
    groups = [(group, list(rows)) for group, rows in groupby(features.rows, lambda row: row.group)]
    parts = [INTRODUCTION.format(last=groups[-1][0].lower().replace(" ", "-")), _projects(features)]
    for group, rows in groups:
        table = _table(["", "this library", *(column.name for column in features.columns)])
        table += [_line([row.title, SYMBOLS[row.ours.value], *_links(row, features.columns)]) for row in rows]
        parts.append("\n".join([f"## {group}", "", *table, ""]))
        parts += [_reasons(row, features.columns) for row in rows]
    return "\n".join(parts)


def short(features: Features) -> str:
    """The README's table: some of the rows, symbols only, and where the rest is."""
    table = _table(["", "this library", *(column.name for column in features.columns)])
    for row in features.rows:
        if row.readme:
            cells = [SYMBOLS[row.others[column.id].value] for column in features.columns]
            table.append(_line([row.title, SYMBOLS[row.ours.value], *cells]))
    symbols = ", ".join(f"{symbol} {value}" for value, symbol in SYMBOLS.items())
    end = f"{symbols}. All {len(features.rows)} rows, each of ours with its tests, each other cell with file and line"
    return "\n".join([*table, "", f"{end}: [docs/features.md](docs/features.md)."])


def filled(text: str, features: Features) -> str:
    """A page with the block between `<!-- features -->` and `<!-- end -->` replaced by the short table."""
    block = rf"\g<1>\n{short(features)}\n\n\g<2>"
    text, count = re.subn(r"(<!-- features -->\n).*?(<!-- end -->)", block, text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"there must be one block <!-- features --> ... <!-- end -->, there are {count}")
    return text


def _projects(features: Features) -> str:
    table = _table(["project", "commit", "version", "what was looked at"])
    for column in features.columns:
        commit = f"[{column.commit[:7]}]({column.url}/tree/{column.commit})"
        table.append(_line([f"[{column.name}]({column.url})", commit, column.version, column.looked_at]))
    return "\n".join([*table, "", f"All were looked at on {features.date}.", ""])


def _table(titles: Sequence[str]) -> list[str]:
    return [_line(titles), _line(["---", *[":---:"] * (len(titles) - 1)])]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _links(row: Row, columns: Sequence[Column]) -> list[str]:
    cells = ((column, row.others[column.id]) for column in columns)
    return [f"[{SYMBOLS[cell.value]}]({column.link(cell.sources[0])})" for column, cell in cells]


def _reasons(row: Row, columns: Sequence[Column]) -> str:
    """The row's title, this library's tests, and a line for each value and reason that several projects may share."""
    ours = row.ours
    said = ours.note or ("" if ours.tests else "Nothing yet.")
    tests = [f"[{PurePosixPath(test).name}](../{test.partition('::')[0]})" for test in ours.tests]
    shown = f" Shown by {', '.join(tests)}." if tests else ""
    wanted = f" Being built: {ours.feature}." if ours.feature else ""
    lines = [f"**{row.title}.** {SYMBOLS[ours.value]} {said}{shown}{wanted}".replace("  ", " "), ""]
    shared: dict[tuple[str, str, str], list[str]] = {}
    for column in columns:
        cell = row.others[column.id]
        links = ", ".join(f"[{_short_source(source)}]({column.link(source)})" for source in cell.sources)
        shared.setdefault((cell.value, cell.note, cell.searched), []).append(f"{column.name} ({links})")
    for (value, note, searched), projects in shared.items():
        reasons = [note] if note else []
        reasons += [f"nothing matches `{searched}`"] if searched else []
        lines.append(f"- {SYMBOLS[value]} {', '.join(projects)}: {'; '.join(reasons)}")
    return "\n".join([*lines, ""])


def _short_source(source: str) -> str:
    path, _, lines = source.partition("#")
    return f"{PurePosixPath(path).name}{':' if lines else ''}{lines.replace('L', '')}"


def main() -> int:
    """Writes both pages where they change, and says which of our rows still want a test."""
    features = load()
    texts = {PAGE: page(features), README: filled(README.read_text(encoding="utf-8"), features)}
    for path, text in texts.items():
        changed = not path.exists() or path.read_text(encoding="utf-8") != text
        if changed:
            path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {'written' if changed else 'up to date'}")
    waiting = [row.id for row in features.rows if row.ours.value == "being built"]
    if waiting:
        print(f"being built, to be filled in with tests: {', '.join(waiting)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
