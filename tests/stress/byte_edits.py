"""Breaks files of any kind: bits, bytes, ranges, ends, and two files in one."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

Edit = Callable[[bytes, Random], bytes]
"""Content and randomness in, other content out."""

INTEGERS = (
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    2**24,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFE,
    0xFFFFFFFF,
    2**63 - 1,
    2**63,
)
"""Where counts and times of 32 and 64 bits, signed and not, break."""
# Containers keep their headers at one of their ends.
_END = 2048


def place(content: bytes | bytearray, random: Random) -> int:
    """Somewhere, half of the times in the headers."""
    if random.random() < 0.5 and len(content) > 2 * _END:
        near = random.randrange(_END)
        return near if random.random() < 0.5 else len(content) - 1 - near
    return random.randrange(max(len(content), 1))


def flip_bits(content: bytes, random: Random) -> bytes:
    """1 to 64 bits."""
    changed = bytearray(content or b"\0")
    for _ in range(2 ** random.randrange(7)):
        changed[place(changed, random)] ^= 1 << random.randrange(8)
    return bytes(changed)


def overwrite(content: bytes, random: Random) -> bytes:
    """A range with zeros, ones or noise."""
    start, length = place(content, random), 2 ** random.randrange(12)
    fill = random.choice((bytes(length), b"\xff" * length, random.randbytes(length)))
    return (content[:start] + fill + content[start + length :])[: len(content)]


def write_integer(content: bytes, random: Random) -> bytes:
    """A number at an end of what numbers can be."""
    value, size = random.choice(INTEGERS), random.choice((2, 4, 8))
    start = place(content, random)
    number = (value % (1 << 8 * size)).to_bytes(size, random.choice(("big", "little")))
    return content[:start] + number + content[start + size :]


def truncate(content: bytes, random: Random) -> bytes:
    """Cut off at the end, or at the start."""
    start = place(content, random)
    return content[:start] if random.random() < 0.8 else content[start:]


def cut_out(content: bytes, random: Random) -> bytes:
    """A range is missing."""
    start = place(content, random)
    return content[:start] + content[start + 2 ** random.randrange(13) :]


def repeat(content: bytes, random: Random) -> bytes:
    """A range stands there again, perhaps many times."""
    start, length = place(content, random), 2 ** random.randrange(10)
    return content[: start + length] + content[start : start + length] * random.choice((1, 1, 8, 64)) + content[start:]


BYTE_EDITS: tuple[Edit, ...] = (flip_bits, overwrite, write_integer, truncate, cut_out, repeat)


def splice(first: bytes, second: bytes, random: Random) -> bytes:
    """The start of one file, the end of another."""
    return first[: place(first, random)] + second[place(second, random) :]
