"""Whether this tree can be released under a tag: `python -m tests.release v0.1.0`. Needs Python's own library only."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def version(root: Path = ROOT) -> str:
    """The version, from the one place where it stands."""
    text = (root / "gaussian_moe" / "_version.py").read_text(encoding="utf-8")
    found: list[str] = re.findall(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    return found[0]


def cited(root: Path = ROOT) -> str:
    """The version that CITATION.cff names."""
    text = (root / "CITATION.cff").read_text(encoding="utf-8")
    found: list[str] = re.findall(r"^version: (.+)$", text, re.MULTILINE)
    return found[0]


def heading(wanted: str, root: Path = ROOT) -> str:
    """What stands in parentheses behind the version in CHANGELOG.md's heading: a date, or "unreleased"; "" without."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.findall(rf"^## {re.escape(wanted)} \(([^)]+)\)$", text, re.MULTILINE)
    return found[0] if len(found) == 1 else ""


def faults(tag: str, root: Path = ROOT) -> list[str]:
    """What must be mended before the tag, a sentence each."""
    found, now = [], version(root)
    if tag != f"v{now}":
        found.append(f"the tag is {tag}, gaussian_moe/_version.py says {now}: the tag must be v{now}")
    if cited(root) != now:
        found.append(f"CITATION.cff says {cited(root)}, gaussian_moe/_version.py says {now}")
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", heading(now, root)):
        found.append(f"CHANGELOG.md must have the heading `## {now} (YYYY-MM-DD)` once, with the day of the release")
    for name in ("pyproject.toml", "CITATION.cff"):
        key = {"pyproject.toml": "[project.urls]", "CITATION.cff": "repository-code:"}[name]
        if key not in (root / name).read_text(encoding="utf-8"):
            found.append(f"{name} has no {key}: enter the repository's address")
    return found


def main(given: Sequence[str] | None = None) -> int:
    """Prints what must be mended; 1 if there is anything."""
    arguments = sys.argv[1:] if given is None else given
    if len(arguments) != 1:
        print("usage: python -m tests.release vX.Y.Z", file=sys.stderr)
        return 2
    found = faults(arguments[0])
    for fault in found:
        print(f"error: {fault}", file=sys.stderr)
    if not found:
        print(f"{arguments[0]} can be released")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
