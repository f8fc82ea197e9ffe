"""Writes the recorded tables into README.md and docs, between `<!-- measured: NAME -->` and `<!-- end -->`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import UserError
from .provenance import ROOT
from .results import Results
from .tables import BLOCKS, block


def documents(root: Path = ROOT) -> list[Path]:
    """The files that may hold blocks."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def rendered(text: str, results: Mapping[str, Results]) -> str:
    """The text with each block filled from every device that has results for it.

    Raises:
        UserError: a block of an unknown name, or one that nothing is recorded for.
    """
    return re.sub(
        r"(<!-- measured: ([\w-]+) -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}{_filled(match[2], results)}{match[3]}",
        text,
        flags=re.DOTALL,
    )


def _filled(name: str, results: Mapping[str, Results]) -> str:
    if name not in BLOCKS:
        raise UserError(f"there is no block {name!r}; blocks: {', '.join(BLOCKS)}")
    tables = [table for each in results.values() if (table := block(name, each))]
    if not tables:
        raise UserError(f"nothing is recorded for the block {name!r}")
    return "\n" + "\n".join(tables) + "\n"


def fill(paths: Sequence[Path], results: Mapping[str, Results]) -> list[Path]:
    """Writes the documents whose text changes, and returns them. All are rendered before any is written."""
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    changed = {path: new for path, text in texts.items() if (new := rendered(text, results)) != text}
    for path, text in changed.items():
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    return list(changed)
