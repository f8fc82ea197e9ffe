"""Inputs that are always tried, each a small archive: tests/stress/corpus/PARSER/*.zip.

They reach lines that changes of valid files seldom reach (`python -m tests.stress.fuzz.collect`), or once broke it.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from .parser import Files

CORPUS = Path(__file__).parents[1] / "corpus"


def digest(files: Files) -> str:
    """A short name for an input."""
    sha = hashlib.sha256()
    for name, content in sorted(files.items()):
        sha.update(f"{name} {len(content)} ".encode())
        sha.update(content)
    return sha.hexdigest()[:12]


def kept(parser: str, folder: Path = CORPUS) -> Iterator[Files]:
    """The inputs of a parser."""
    for path in sorted((folder / parser).glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            yield {name: archive.read(name) for name in archive.namelist()}


def keep(folder: Path, parser: str, files: Files) -> Path:
    """Writes one; bytes are the same every time."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    path = folder / parser / f"{digest(files)}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed.getvalue())
    return path
