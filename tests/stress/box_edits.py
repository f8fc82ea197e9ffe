"""Breaks containers where it hurts: the boxes of MP4, the elements of Matroska, the chunks of AVI.

A part is a box, an element or a chunk: a name, a size, and content, often other parts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from .byte_edits import INTEGERS

_MP4_FOLDERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"mvex", b"moof", b"traf", b"udta"}
_RIFF_FOLDERS = {b"RIFF", b"LIST"}
# Segment, Info, Tracks, TrackEntry, Video, Audio, Cluster, BlockGroup, Cues, CuePoint, CueTrackPositions, SeekHead,
# Seek, Tags, Tag, SimpleTag, and the EBML head.
_EBML_FOLDERS = {
    *(bytes.fromhex(name) for name in ("18538067", "1549A966", "1654AE6B", "AE", "E0", "E1", "1F43B675", "A0")),
    *(bytes.fromhex(name) for name in ("1C53BB6B", "BB", "B7", "114D9B74", "4DBB", "1254C367", "7373", "67C8")),
    bytes.fromhex("1A45DFA3"),
}


@dataclass(frozen=True)
class Part:
    """Where a part lies in a file."""

    start: int
    body: int
    stop: int
    size_at: int
    size_bytes: int
    order: Literal["big", "little"]
    kind: Literal["mp4", "ebml", "riff"]
    inside: tuple[Part, ...] = ()
    """The parts that it lies in, outermost first."""
    is_folder: bool = False


def parts(content: bytes) -> list[Part]:
    """All parts of a file, none where it is of another kind."""
    if content[4:8] == b"ftyp":
        return list(_mp4(content, 0, len(content), ()))
    if content[:4] == b"\x1a\x45\xdf\xa3":
        return list(_ebml(content, 0, len(content), ()))
    if content[:4] == b"RIFF":
        return list(_riff(content, 0, len(content), ()))
    return []


def box(content: bytes, name: bytes, which: int = 0) -> Part:
    """The box of an MP4 file that has a name, the first or a later one."""
    return [part for part in parts(content) if content[part.start + 4 : part.start + 8] == name][which]


def with_body(content: bytes, part: Part, body: bytes) -> bytes:
    """Another content of a box; its size and those of the boxes around it follow."""
    change = len(body) - (part.stop - part.body)
    changed = content[: part.body] + body + content[part.stop :]
    for outer in (*part.inside, part):
        changed = _with_size(changed, outer, _size(content, outer) + change)
    return changed


def edit_part(content: bytes, random: Random) -> bytes:
    """Changes a part's size or one of its numbers, or removes, doubles, or swaps parts."""
    found = parts(content)
    if not found:
        return content
    # Of hundreds of blocks of content few are chosen.
    part = random.choice(found[:60] + found[-20:])
    edit = random.choice((_resize, _number, _number, _number, _number, _remove, _double, _swap, _rename))
    return edit(content, part, random, found)


def _resize(content: bytes, part: Part, random: Random, _: list[Part]) -> bytes:
    largest = (1 << 8 * part.size_bytes) - 1
    size = part.stop - part.start
    value = random.choice((0, 1, 7, 8, 9, size - 1, size + 1, 2 * size, largest // 2, largest - 1, largest))
    return _with_size(content, part, max(value, 0) % (largest + 1))


def _number(content: bytes, part: Part, random: Random, found: list[Part]) -> bytes:
    """One of the numbers in a part that holds no others."""
    if part.is_folder:
        part = random.choice([one for one in found if not one.is_folder][:60] or [part])
    length = part.stop - part.body
    if length == 0:
        return content
    if part.kind == "ebml" and length <= 8:
        fill = random.choice([value % (1 << 8 * length) for value in INTEGERS]).to_bytes(length, "big")
        if length == 8 and random.random() < 0.5:
            fill = struct.pack(
                ">d", random.choice((0.0, -1.0, 1e-300, 3.6e10, 1e18, 1e300, float("inf"), float("nan")))
            )
        return content[: part.body] + fill + content[part.stop :]
    # Fields are of 4 bytes nearly everywhere, and tables begin after a few of them.
    width = random.choice((4, 4, 4, 8, 2))
    at = part.body + min(4 * random.randrange(1 + min(length // 4, 24)), max(length - width, 0))
    number = (random.choice(INTEGERS) % (1 << 8 * width)).to_bytes(width, part.order)
    return (content[:at] + number + content[at + width :])[: len(content)]


def _remove(content: bytes, part: Part, random: Random, _: list[Part]) -> bytes:
    return _resized(content, part, part.start - part.stop, random, content[: part.start] + content[part.stop :])


def _double(content: bytes, part: Part, random: Random, _: list[Part]) -> bytes:
    doubled = content[: part.stop] + content[part.start : part.stop] + content[part.stop :]
    return _resized(content, part, part.stop - part.start, random, doubled)


def _swap(content: bytes, part: Part, random: Random, found: list[Part]) -> bytes:
    """Two parts that do not overlap change places."""
    first, second = sorted((part, random.choice(found)), key=lambda one: one.start)
    if first.stop > second.start:
        return content
    middle = content[first.stop : second.start]
    swapped = content[second.start : second.stop] + middle + content[first.start : first.stop]
    return content[: first.start] + swapped + content[second.stop :]


def _rename(content: bytes, part: Part, random: Random, found: list[Part]) -> bytes:
    """A part takes the name of another."""
    other = random.choice(found)
    if part.kind == "ebml":
        name, end = content[other.start : other.size_at], part.size_at
        return content if len(name) != end - part.start else content[: part.start] + name + content[end:]
    at, source = (part.start + 4, other.start + 4) if part.kind == "mp4" else (part.start, other.start)
    return content[:at] + content[source : source + 4] + content[at + 4 :]


def _resized(content: bytes, part: Part, change: int, random: Random, changed: bytes) -> bytes:
    """Content that was changed inside of parts, whose sizes mostly follow, so that readers get there."""
    if random.random() < 0.2:
        return changed
    for outer in part.inside:
        changed = _with_size(changed, outer, _size(content, outer) + change)
    return changed


def _size(content: bytes, part: Part) -> int:
    value = int.from_bytes(content[part.size_at : part.size_at + part.size_bytes], part.order)
    return value - (1 << 7 * part.size_bytes) if part.kind == "ebml" else value


def _with_size(content: bytes, part: Part, size: int) -> bytes:
    size = max(size, 0)
    if part.kind == "ebml":
        # The first set bit tells how many bytes the size has.
        size = size % (1 << 7 * part.size_bytes) | 1 << 7 * part.size_bytes
    number = (size % (1 << 8 * part.size_bytes)).to_bytes(part.size_bytes, part.order)
    return content[: part.size_at] + number + content[part.size_at + part.size_bytes :]


def _mp4(content: bytes, at: int, stop: int, inside: tuple[Part, ...]) -> Iterator[Part]:
    while at + 8 <= stop:
        size, name = struct.unpack_from(">I4s", content, at)
        end = min(at + size, stop) if size >= 8 else stop
        part = Part(at, at + 8, end, at, 4, "big", "mp4", inside, name in _MP4_FOLDERS)
        yield part
        if part.is_folder:
            yield from _mp4(content, part.body, end, (*inside, part))
        at = end


def _riff(content: bytes, at: int, stop: int, inside: tuple[Part, ...]) -> Iterator[Part]:
    while at + 8 <= stop:
        name, size = struct.unpack_from("<4sI", content, at)
        end = min(at + 8 + size + size % 2, stop)
        part = Part(at, at + 8, end, at + 4, 4, "little", "riff", inside, name in _RIFF_FOLDERS)
        yield part
        if part.is_folder:
            # Lists begin with their kind.
            yield from _riff(content, part.body + 4, end, (*inside, part))
        at = end


def _ebml(content: bytes, at: int, stop: int, inside: tuple[Part, ...]) -> Iterator[Part]:
    while at + 2 <= stop and content[at]:
        size_at = at + 9 - content[at].bit_length()
        if size_at >= stop or not content[size_at]:
            return
        size_bytes = 9 - content[size_at].bit_length()
        body = size_at + size_bytes
        size = int.from_bytes(content[size_at:body], "big") - (1 << 7 * size_bytes)
        # All ones: a size that was not known yet.
        end = stop if size == (1 << 7 * size_bytes) - 1 else min(body + size, stop)
        part = Part(at, body, end, size_at, size_bytes, "big", "ebml", inside, content[at:size_at] in _EBML_FOLDERS)
        yield part
        if part.is_folder:
            yield from _ebml(content, body, end, (*inside, part))
        at = max(end, body)
