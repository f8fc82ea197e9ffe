"""`python -m docs.figures`: draws the pictures of docs/idea.md and fills its figures in, from recorded files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from examples.avqa.errors import UserError

from .page import PAGE, fill
from .pictures import OUT, draw_all
from .record import PATH, load, write_record


def main(arguments: list[str] | None = None) -> int:
    """Records where asked to, draws, and fills the page in."""
    parser = argparse.ArgumentParser(prog="python -m docs.figures", description=__doc__)
    parser.add_argument(
        "--run", type=Path, help="first record how this run (of `fit`, QA-TIGER) looks at its test split"
    )
    parser.add_argument("--record", type=Path, default=PATH, help="the recorded routing (%(default)s)")
    parser.add_argument("--out", type=Path, default=OUT, help="where the pictures go (%(default)s)")
    parser.add_argument("--no-page", action="store_true", help=f"leave {PAGE.name} as it is")
    given = parser.parse_args(arguments)
    try:
        if given.run is not None:
            from .measured import measured
            from .watched import watch

            write_record(given.record, measured(watch(given.run)))
            print(f"Record: {given.record}")
        record = load(given.record)
        for path in draw_all(record, given.out):
            print(f"Picture: {path}")
        if not given.no_page:
            print(f"{PAGE.name}: {'written' if fill(record) else 'up to date'}")
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
