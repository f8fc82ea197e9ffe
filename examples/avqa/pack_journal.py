"""What is already packed, one line a clip, so that packing that was killed goes on where it was."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tqdm import tqdm

from .errors import UserError, one_line
from .json_text import decoded
from .store_index import DATA, JOURNAL, Layout, StoredClip, clip_from_json

Stamps = list[list[int]]
"""Size and time of each of a clip's source files."""


class Entry(NamedTuple):
    """One clip that was dealt with."""

    video_id: str
    stamps: Stamps
    clip: StoredClip | None
    """None for a clip that was left out."""
    fault: str = ""
    """Why it was left out."""


class Journal:
    """Clips that were written, in the order of their bytes.

    Args:
        root: the store.
        settings: what it is packed with.

    Raises:
        UserError: `root` holds unfinished packing with other settings.
    """

    def __init__(self, root: Path, settings: Mapping[str, Any]) -> None:
        self._path = root / JOURNAL
        self._data = root / DATA
        head = json.dumps(dict(settings), ensure_ascii=False).encode() + b"\n"
        lines = self._path.read_bytes().splitlines(keepends=True) if self._path.exists() else []
        # A first line that was cut off says nothing, and nothing was written after it.
        if lines and lines[0].endswith(b"\n") and lines[0] != head:
            before = lines[0].decode(errors="replace").strip()
            raise UserError(
                f"out: {root} holds unfinished packing with other settings ({before}); give those, or delete it"
            )
        self._lines = [line for line in lines[1:] if line.endswith(b"\n")]
        self._head = head

    def verified(self, stamps: Mapping[str, Stamps], layout: Layout) -> list[Entry]:
        """What is packed for certain: the first clips, their sources unchanged and their bytes as they were written.

        Args:
            stamps: every clip that is wanted, in the order of packing, with its sources as they are now.
            layout: how clips are written.
        """
        entries: list[Entry] = []
        end = 0
        if not self._data.exists():
            return entries
        with self._data.open("rb") as data:
            wanted = zip(self._lines, stamps.items(), strict=False)
            for line, (video_id, now) in tqdm(list(wanted), desc="checking what is packed", unit="clip", delay=2):
                entry = _entry(line)
                if entry is None or (entry.video_id, entry.stamps) != (video_id, now):
                    break
                if entry.clip is not None:
                    # Clips lie one behind the other: what comes next is written behind the last.
                    if entry.clip.offset != end or not _as_written(data, entry.clip, layout):
                        break
                    end += layout.size(entry.clip.frames)
                entries.append(entry)
        return entries

    def restart(self, entries: Sequence[Entry]) -> None:
        """Keeps the first lines, those of `entries`, and nothing else."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("wb") as file:
            file.write(b"".join((self._head, *self._lines[: len(entries)])))

    def append(self, entry: Entry) -> None:
        """Notes a clip whose bytes are written."""
        value = entry._asdict() | {"clip": None if entry.clip is None else entry.clip._asdict()}
        with self._path.open("ab", buffering=0) as file:
            file.write(signed(json.dumps(value, ensure_ascii=False).encode()) + b"\n")

    def remove(self) -> None:
        """Forgets everything: the store is finished."""
        self._path.unlink(missing_ok=True)


def signed(text: bytes) -> bytes:
    """A line with its checksum before it: the checksum of a clip's bytes does not cover what is told of them.

    >>> signed(b"{}")
    b'745bff4e {}'
    """
    return b"%08x %b" % (zlib.crc32(text), text)


def _entry(line: bytes) -> Entry | None:
    text = line.rstrip(b"\n").partition(b" ")[2]
    if line.rstrip(b"\n") != signed(text):
        return None
    try:
        value = decoded(text)
        clip = None if value["clip"] is None else clip_from_json(value["clip"])
        fault = value["fault"]
        if not isinstance(fault, str) or bool(fault) != (clip is None):
            return None
        return Entry(value["video_id"], value["stamps"], clip, one_line(fault))
    except (ValueError, TypeError, KeyError):
        return None


def _as_written(data: BinaryIO, clip: StoredClip, layout: Layout) -> bool:
    size = layout.size(clip.frames)
    # Before anything is read: a journal may tell any number.
    if clip.offset + size > data.seek(0, os.SEEK_END):
        return False
    data.seek(clip.offset)
    return zlib.crc32(data.read(size)) == clip.crc32
