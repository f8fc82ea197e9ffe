"""Checks the sample tables of MP4 and MOV files before they are unfolded in memory.

Two numbers in a table can stand for billions of samples, for each of which ffmpeg takes 70 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .errors import UserError

_FOLDERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf")
_LEAST_BYTES = 8
"""Of a sample of sound or picture, where all have one size."""
_LEAST_FRAGMENT_BYTES = 1
"""The same in fragments, whose samples may be single ones of uncompressed sound."""
_SAMPLES_A_PIECE = 1024
"""Of uncompressed sound, at the least."""
_DEEPEST = 8


class _Box(NamedTuple):
    name: bytes
    body: int
    stop: int


def check_sample_tables(path: Path) -> None:
    """Reads the boxes that count samples; does nothing with files of other kinds.

    Raises:
        UserError: there would be more samples than the file can hold.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(8)[4:] not in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"moof", b"styp", b"pnot"):
            return
        fixed = fragments = 0
        for track in _tracks(file, size):
            fixed += _unfolded(file, track)
            fragments += sum(_numbers(file, box, 4, 1)[0] for box in track if box.name == b"trun")
    claimed = max(fixed * _LEAST_BYTES, fragments * _LEAST_FRAGMENT_BYTES)
    if claimed > size:
        raise UserError(
            f"{path} is damaged: its tables claim {fixed + fragments:,} samples of picture and sound, more than its "
            f"{size:,} bytes can hold; download or export it again"
        )


def _unfolded(file: BinaryIO, track: list[_Box]) -> int:
    """How many samples of one size a track has; of uncompressed sound so many pieces of chunks."""
    tables = (_numbers(file, box, 4, 2) for box in track if box.name == b"stsz")
    count = sum(samples for sample_bytes, samples in tables if sample_bytes)
    # Uncompressed sound is read chunk by chunk: each of its samples lasts one tick.
    kinds = {_numbers(file, box, 8, 1)[0].to_bytes(4, "big") for box in track if box.name == b"hdlr"}
    runs = [_numbers(file, box, 4, 3) for box in track if box.name == b"stts"]
    if b"vide" in kinds or b"soun" not in kinds or any((run[0], run[2]) != (1, 1) for run in runs):
        return count
    return _in_chunks(file, track) // _SAMPLES_A_PIECE


def _in_chunks(file: BinaryIO, track: list[_Box]) -> int:
    """How many samples lie in a track's chunks: each run of the table begins at a chunk, and says how many in one."""
    chunks = sum(_numbers(file, box, 4, 1)[0] for box in track if box.name in (b"stco", b"co64"))
    total = 0
    for box in (box for box in track if box.name == b"stsc"):
        file.seek(box.body + 8)
        table = file.read(box.stop - box.body - 8)
        runs = list(struct.iter_unpack(">3I", table[: len(table) // 12 * 12]))
        ends = [*(run[0] for run in runs[1:]), chunks + 1]
        total += sum(max(end - run[0], 0) * run[1] for run, end in zip(runs, ends, strict=False))
    return total


def _numbers(file: BinaryIO, box: _Box, at: int, count: int) -> tuple[int, ...]:
    """Numbers of 32 bits in a box; zeros where it ends before them."""
    file.seek(box.body + at)
    return struct.unpack(
        f">{count}I", file.read(min(4 * count, max(box.stop - box.body - at, 0))).ljust(4 * count, b"\0")
    )


def _tracks(file: BinaryIO, size: int) -> Iterator[list[_Box]]:
    """The boxes of each track, also of those in fragments."""
    track = list[_Box]()
    for box in _boxes(file, 0, size, 0):
        if box.name in (b"trak", b"traf"):
            yield track
            track = []
        track.append(box)
    yield track


def _boxes(file: BinaryIO, at: int, stop: int, depth: int) -> Iterator[_Box]:
    while at + 8 <= stop:
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        size, name, body = int.from_bytes(head[:4], "big"), head[4:8], at + 8
        if size == 1 and len(head) == 16:
            size, body = int.from_bytes(head[8:], "big"), at + 16
        end = stop if size == 0 else min(at + size, stop)
        if end < body:
            return
        yield _Box(name, body, end)
        if name in _FOLDERS and depth < _DEEPEST:
            yield from _boxes(file, body, end, depth + 1)
        at = end
