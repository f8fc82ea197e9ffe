"""Writes the recorded figures into the README: `python -m examples.avqa.readme`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from .annotations import read_json
from .errors import UserError
from .files import write_text
from .results import tables_from_json, to_markdown

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
RECORDED = Path(__file__).with_name("recorded")


def rendered(text: str) -> str:
    """The README with each `<!-- recorded: NAME -->` block filled from recorded/NAME.json.

    Raises:
        UserError: a recorded file is missing or broken.
    """
    return re.sub(
        r"(<!-- recorded: (\w+) -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}{_block(match[2])}{match[3]}",
        text,
        flags=re.DOTALL,
    )


def _block(name: str) -> str:
    path = RECORDED / f"{name}.json"
    value = read_json(path, "recorded results")
    try:
        table = to_markdown(tables_from_json(value["tables"], path))
        made, seeds = value["provenance"], value["settings"]["seed"]
        runs = f"{len(seeds)} seeds, mean ± standard deviation" if isinstance(seeds, list) else f"seed {seeds}"
        return (
            f"\n{table}\nAccuracy in per cent, {runs}. Recorded on {made['date']} at commit {made['commit']}: "
            f"{made['device']}, Python {made['python']}, torch {made['torch']}.\n\n"
        )
    # KeyError: a part lacks. TypeError: a part is of another kind. ValueError: tables of different questions.
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no record of `compare --record` ({error!r}); make it again") from error


def main() -> int:
    """Rewrites the README where a figure changed."""
    try:
        before = README.read_text(encoding="utf-8")
        after = rendered(before)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if after != before:
        write_text(README, after)
    print(f"{README.name}: {'written' if after != before else 'up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
