"""Every block of every page runs, or says why not; every picture of a tutorial is made by the tutorial's own code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .blocks import images
from .commands import ROOT
from .page import PageRun, blocks, document, pages, runs_shell
from .pictures import LARGEST, PICTURES, TUTORIALS, png_size, shown

PAGES = pages()


def _parameter(page: Path) -> object:
    """A page whose shell commands are run takes long, and so do those that train, compile or export."""
    shell = runs_shell(page) and any(block.language == "bash" and block.not_run is None for block in blocks(page))
    long = shell or page in (*TUTORIALS, Path("docs/ecosystem.md"))
    return pytest.param(page, id=str(page), marks=[pytest.mark.slow] if long else [])


@pytest.mark.parametrize("page", [_parameter(page) for page in PAGES])
def test_every_block_runs(page: Path, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    run = PageRun(tmp_path, shell=runs_shell(page))
    run.run(document(page))
    for reason in run.not_run:
        record_property("not run", reason)
    for name in shown(page) if page in TUTORIALS else []:
        made = tmp_path / name
        assert made.is_file(), f"{page} shows {name}, and its code saves no such file"
        # Another font may move a letter, not the figure.
        assert png_size(made) == png_size(PICTURES / name), "python -m tests.docs.pictures draws them again"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_pictures_are_there_and_say_what_is_seen(page: Path) -> None:
    for image in images((ROOT / page).read_text(encoding="utf-8")):
        assert len(image.alt.split()) >= 3, f"{page}:{image.line}: no alt text that says what is seen"
        if not image.target.startswith("http"):
            path = (ROOT / page).parent / image.target
            assert path.is_file(), f"{page}:{image.line}: there is no {image.target}"
            if path.parent.resolve() == PICTURES and path.suffix == ".png":
                assert path.stat().st_size <= LARGEST, f"{image.target} is larger than {LARGEST} bytes"


def test_all_kinds_of_pages_are_found() -> None:
    wanted = {"README.md", "CONTRIBUTING.md", "docs/devices.md", "docs/tutorials/pool.md", "kernels/linear/README.md"}
    assert wanted <= {str(page) for page in PAGES}
