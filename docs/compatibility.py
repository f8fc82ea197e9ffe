"""Writes docs/release.md's table of what was tested from docs/compatibility.json: `python -m docs.compatibility`.

A new result is added by `python -m tests.distribution --record docs/compatibility.json`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "docs" / "compatibility.json"
PAGE = ROOT / "docs" / "release.md"
COLUMNS = ("Python", "torch", "triton", "installed from", "passed", "failed", "skipped", "date", "commit", "command")


def numbers(text: str) -> tuple[int, ...]:
    """A version's numbers, to sort by: 3.9 before 3.10."""
    return tuple(int(number) for number in re.findall(r"\d+", text.partition("+")[0]))


def table(results: list[dict[str, Any]]) -> str:
    """A row for each environment, by Python and torch, and where it was.

    Raises:
        ValueError: there is no result, or one lacks something.
    """
    if not results:
        raise ValueError(f"{RECORD.name} holds no result")
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * 4}{' ---: |' * 3}{' --- |' * 3}"]
    try:
        for made in sorted(results, key=lambda each: (numbers(each["python"]), numbers(each["torch"]), each["kind"])):
            counts = [f"{made[name]:,}" for name in ("passed", "failed", "skipped")]
            versions = [made["python"], made["torch"], made["triton"], made["kind"]]
            cells = [*versions, *counts, made["date"], made["commit"], f"`{made['command']}`"]
            lines.append(f"| {' | '.join(cells)} |")
        platforms = sorted({made["platform"] for made in results})
    except (KeyError, TypeError) as error:
        raise ValueError(f"a result in {RECORD.name} lacks {error}; record it again") from error
    return "\n".join([*lines, "", f"All on {' and '.join(platforms)}, without a GPU."])


def filled(text: str, results: list[dict[str, Any]]) -> str:
    """A page with its block replaced by the table.

    Raises:
        ValueError: the page does not have the block once.
    """
    made = table(results)
    pattern = r"(<!-- recorded: compatibility -->\n).*?(<!-- end -->)"
    text, count = re.subn(pattern, lambda match: f"{match[1]}\n{made}\n\n{match[2]}", text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(
            f"there must be one block <!-- recorded: compatibility --> ... <!-- end -->, there are {count}"
        )
    return text


def main() -> int:
    """Writes the page where the table changes."""
    before = PAGE.read_text(encoding="utf-8")
    after = filled(before, json.loads(RECORD.read_text(encoding="utf-8")))
    if after != before:
        PAGE.write_text(after, encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {'written' if after != before else 'up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
