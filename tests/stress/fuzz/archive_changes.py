"""Changes of torch's archives: members that are renamed, doubled, compressed, or hold something else."""

from __future__ import annotations

import functools
import io
import zipfile
import zlib

from .byte_changes import BYTES
from .parser import Draw
from .pickle_changes import pickle_changed

_NAMES: tuple[str, ...] = (
    "../../outside",
    "/tmp/outside",
    "archive/../../outside",
    "archive/data/0",
    "x" * 300,
    "a\\b",
)
BOMB = 640 << 20
"""Bytes that a few thousand blow up to."""


def archive_changed(draw: Draw, data: bytes) -> bytes:
    """An archive with a member changed, its checksums right again; what is no archive stays."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError, EOFError, RuntimeError):
        return data
    if not members:
        return data
    number = draw.number(0, len(members) - 1)
    name, content = members[number]
    kind = draw.number(0, 9)
    compressed = False
    if kind <= 4:
        number = next((n for n, (name, _) in enumerate(members) if name.endswith("data.pkl")), number)
        name, content = members[number]
        members[number] = name, pickle_changed(draw, content)
    elif kind == 5:
        members[number] = name, draw.one(BYTES)(draw, content)
    elif kind == 6:
        members[number] = draw.one(_NAMES), content
    elif kind == 7:
        members.append((name, content) if draw.number(0, 1) else (draw.one(_NAMES), b"canary"))
    elif kind == 8:
        del members[number]
    else:
        compressed = True
        if not draw.number(0, 5):
            return bomb(data)
    return packed(members, compressed)


def packed(members: list[tuple[str, bytes]], compressed: bool = False) -> bytes:
    """An archive of these members."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, archive.compression)
    return made.getvalue()


@functools.cache
def bomb(data: bytes) -> bytes:
    """The archive with its first tensor grown to `BOMB` zeros, compressed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members:
            if name.endswith("/data/0"):
                with archive.open(name, "w", force_zip64=True) as member:
                    for _ in range(BOMB >> 20):
                        member.write(bytes(1 << 20))
            else:
                archive.writestr(name, content)
    return made.getvalue()
