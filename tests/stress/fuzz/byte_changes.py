"""Changes of files that know nothing of a format."""

from __future__ import annotations

from .parser import Draw

_WHOLE: tuple[bytes, ...] = (
    b"",
    b"\0",
    b"\n",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xff" * 64,
    b"\0" * 4096,
    b"x" * 100_000,
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"9" * 10_000,
    b"\x80\x04\x95",
    b"PK\x03\x04",
    b"\x93NUMPY\x01\x00",
)
_PIECES: tuple[bytes, ...] = (
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\xed\xa0\x80",
    b"\r",
    b"\r\n",
    b"\x85",
    b'"',
    b"'",
    b",",
    b"[",
    b"}",
    b"\x1b[2J",
    b"\xe2\x80\xae",
    b"../",
    b"-1",
    b"1e999",
    b"NaN",
    b"9" * 5000,
)


def flipped(draw: Draw, data: bytes) -> bytes:
    """One to four bits turned."""
    changed = bytearray(data)
    for _ in range(draw.number(1, 4) if data else 0):
        changed[draw.number(0, len(data) - 1)] ^= 1 << draw.number(0, 7)
    return bytes(changed)


def cut_off(draw: Draw, data: bytes) -> bytes:
    """The beginning alone, or the end alone."""
    at = draw.number(0, len(data))
    return data[:at] if draw.number(0, 3) else data[at:]


def shortened(draw: Draw, data: bytes) -> bytes:
    """Something in the middle is left out."""
    start = draw.number(0, len(data))
    return data[:start] + data[start + draw.number(1, 64) :]


def doubled(draw: Draw, data: bytes) -> bytes:
    """Something stands twice, or many times."""
    start = draw.number(0, len(data))
    part = data[start : start + draw.number(1, 64)]
    return data[:start] + part * draw.one((2, 3, 300)) + data[start + len(part) :]


def inserted(draw: Draw, data: bytes) -> bytes:
    """Something that is not expected."""
    at = draw.number(0, len(data))
    return data[:at] + draw.one(_PIECES) + data[at + draw.number(0, 8) :]


def replaced(draw: Draw, data: bytes) -> bytes:
    """Another file altogether, or the same in another encoding."""
    kind = draw.number(0, len(_WHOLE) + 3)
    if kind < len(_WHOLE):
        return _WHOLE[kind]
    if kind == len(_WHOLE):
        return b"\xef\xbb\xbf" + data
    if kind == len(_WHOLE) + 1:
        return data.replace(b"\n", b"\r\n")
    text = data.decode("latin-1")
    return text.encode("utf-16" if kind == len(_WHOLE) + 2 else "utf-32")


BYTES = (flipped, cut_off, shortened, doubled, inserted, replaced)
