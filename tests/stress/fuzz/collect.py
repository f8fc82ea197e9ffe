"""Fills the corpus with what a coverage-guided run finds: `python -m tests.stress.fuzz.collect [PARSER ...]`.

Of the inputs that reached new lines it keeps the last, which are the hardest to find, if they are small.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from . import corpus, guided
from .parser import Files
from .parsers import INSTRUMENTED, load

LARGEST = 4096
"""Bytes of an archive that is kept."""


def collected(name: str, reaching: Sequence[Files], most: int, folder: Path) -> int:
    """Keeps up to `most` inputs of a parser in the place of those before; returns how many."""
    for path in (folder / name).glob("*.zip"):
        path.unlink()
    count = 0
    for files in reversed(reaching):
        if count == most:
            break
        path = corpus.keep(folder, name, files)
        if path.stat().st_size > LARGEST:
            path.unlink()
        else:
            count += 1
    return count


def main(given: Sequence[str] | None = None) -> int:
    """The command; 1 where a parser broke."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="PARSER", help=f"which (default: all): {', '.join(INSTRUMENTED)}")
    parser.add_argument("--runs", type=int, default=20_000, help="inputs for each (default: %(default)s)")
    parser.add_argument("--most", type=int, default=16, help="how many to keep for each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=713)
    parser.add_argument("--out", type=Path, default=corpus.CORPUS, help="where to (default: %(default)s)")
    asked = parser.parse_args(given)
    unknown = [name for name in asked.names if name not in INSTRUMENTED]
    if unknown:
        parser.error(f"no parser is called {', '.join(unknown)}; known are {', '.join(INSTRUMENTED)}")
    broken = False
    for name in tqdm(asked.names or list(INSTRUMENTED), unit=" parsers"):
        with tempfile.TemporaryDirectory() as folder:
            found = guided.run(load(name), asked.runs, asked.seed, Path(folder))
        count = collected(name, found.reaching, asked.most, asked.out)
        tqdm.write(f"{name}: {found.executed:,} inputs, {len(found.reaching)} reach new lines, {count} kept")
        for fault in found.faults:
            broken = True
            tqdm.write(f"{name}: BROKE {fault}", file=sys.stderr)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
