"""`python -m tests.docs.pictures [PAGE ...]`: runs the tutorials and keeps the pictures that they show.

Each is written whole into docs/pictures; a page whose blocks do not run writes none.
"""

from __future__ import annotations

import shutil
import struct
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from .blocks import images
from .commands import ROOT
from .page import PageRun, document, pages

PICTURES = ROOT / "docs" / "pictures"
LARGEST = 300_000
"""Bytes of a PNG."""
TUTORIALS = [page for page in pages() if page.parts[:2] == ("docs", "tutorials")]


def shown(page: Path) -> list[str]:
    """Names of the pictures in docs/pictures that a page shows."""
    targets = [(ROOT / page).parent / image.target for image in images((ROOT / page).read_text(encoding="utf-8"))]
    return [target.name for target in targets if target.resolve().parent == PICTURES]


def png_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels."""
    head = path.read_bytes()[:24]
    if head[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError(f"{path} is no PNG")
    width, height = struct.unpack(">II", head[16:])
    return width, height


def main(arguments: Sequence[str]) -> int:
    """Draws the pictures of the pages given, by default of all tutorials; 2 for a page that is none."""
    chosen = [Path(argument) for argument in arguments] or TUTORIALS
    strangers = [str(page) for page in chosen if page not in TUTORIALS]
    if strangers:
        known = ", ".join(map(str, TUTORIALS))
        print(f"error: no tutorial: {', '.join(strangers)}; there are {known}", file=sys.stderr)
        return 2
    PICTURES.mkdir(exist_ok=True)
    for page in tqdm([page for page in chosen if shown(page)], desc="running", unit="page"):
        with tempfile.TemporaryDirectory() as folder:
            PageRun(Path(folder), shell=True).run(document(page))
            for name in shown(page):
                unfinished = PICTURES / f".{name}.tmp"
                shutil.copyfile(Path(folder) / name, unfinished)
                unfinished.replace(PICTURES / name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
