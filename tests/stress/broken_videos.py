"""Broken videos, each told by its number: what was done to which small valid one."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from .box_edits import edit_part, parts
from .byte_edits import BYTE_EDITS, splice
from .video_seeds import SEEDS, write_seed

_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v")


@dataclass(frozen=True)
class Broken:
    """A broken file."""

    name: str
    """What a file of it is called."""
    content: bytes
    how: str
    """What was done to what."""


def valid(folder: Path) -> dict[str, bytes]:
    """The small valid videos by name, written to a folder and read again."""
    return {seed.name: write_seed(folder, seed).read_bytes() for seed in SEEDS}


def broken(seeds: Mapping[str, bytes], number: int, seed: int) -> Broken:
    """Input `number` of a run: the same bytes every time."""
    random = Random(f"{seed}-{number}")
    if random.random() < 0.02:
        return _foreign(random)
    name = random.choice(list(seeds))
    content, how = seeds[name], [name]
    if random.random() < 0.05:
        other = random.choice(list(seeds))
        content = splice(content, seeds[other], random)
        how.append(f"spliced with {other}")
    structured = bool(parts(content))
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        edit = edit_part if structured and random.random() < 0.7 else random.choice(BYTE_EDITS)
        content = edit(content, random)
        how.append(edit.__name__)
    suffix = random.choice(_SUFFIXES) if random.random() < 0.1 else Path(name).suffix
    return Broken(f"{'a' * random.randrange(1, 3)}{number}{suffix}", content, ", ".join(how))


def _foreign(random: Random) -> Broken:
    """What is no video, under the name of one."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.txt", "a")
    contents = {
        "zip": packed.getvalue(),
        "text": b"no video\n" * random.randrange(1, 99),
        "PDF": b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n",
        "PNG": b"\x89PNG\r\n\x1a\n" + random.randbytes(99),
        "HTML": b"<!doctype html><title>404</title><p>Not found</p>",
        "WAV": b"RIFF\x24\x00\x00\x00WAVEfmt " + random.randbytes(99),
        "noise": random.randbytes(2 ** random.randrange(16)),
        "zeros": bytes(2 ** random.randrange(16)),
        "a head of MP4": b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isomiso2" + random.randbytes(99),
        "a head of Matroska": b"\x1a\x45\xdf\xa3" + random.randbytes(99),
    }
    kind = random.choice(list(contents))
    return Broken(f"{kind.replace(' ', '-')}{random.choice(_SUFFIXES)}", contents[kind], kind)
