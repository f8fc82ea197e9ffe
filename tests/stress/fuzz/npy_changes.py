"""Changes of .npy files: headers that lie about what follows, or that hold something else than three entries."""

from __future__ import annotations

import struct

from .parser import Draw

_DESCRS: tuple[str, ...] = (
    "'<f2'",
    "'<f8'",
    "'>f4'",
    "'<f16'",
    "'<i8'",
    "'|b1'",
    "'|O'",
    "'<c8'",
    "'<U4'",
    "'<M8[ns]'",
    "'|V9999999999'",
    "'|V0'",
    "'<f4,<f4'",
    "'(1000000,1000000)f4'",
    "[('a', '<f4')]",
    "[('a', '<f4', (2, 3))]",
    "[('a', '|O')]",
    "[]",
    "''",
    "None",
    "'\\ud800'",
    "'f4' 'x'",
    "('<f4', {'x': 1})",
    "'" + "f" * 9000 + "'",
)
_SHAPES: tuple[str, ...] = (
    "()",
    "(0, 5)",
    "(1,)",
    "(3,)",
    "(-1, 5)",
    "(-3, -5)",
    "(True, 5)",
    "(3.0, 5)",
    "(3, 5, 1)",
    "(1, 3, 5)",
    "(3, 1, 5)",
    "(4611686018427387904,)",
    "(4294967296, 4294967296)",
    "(9223372036854775807, 2)",
    "(9223372036854775808,)",
    "(1, 18446744073709551616)",
    "(1000000000, 5)",
    "(0, 9223372036854775807)",
    "[3, 5]",
    "3",
    "None",
    "'(3, 5)'",
    "(3, 5L)",
    "(" + "1, " * 100 + ")",
    "(" + "9" * 5000 + ",)",
)
_HEADERS: tuple[str, ...] = (
    "",
    "{}",
    "{",
    "{'descr': '<f4'}",
    "(" * 150 + ")" * 150,
    "[" * 9000,
    "-" * 9000 + "1",
    "{" * 4000,
    "'" * 3,
    "\\",
    "(\n",
    "  1\n 2\n",
    "__import__('os').system('touch canary')",
    "{[]: 1, 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 5), 'more': 1}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 5)}",
    "{'shape': (3, 5), 'descr': '<f4', 'fortran_order': False}\n",
    "\0",
    "x" * 60_000,
    "9" * 9000,
    "٣",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (٣,)}",
)


def npy_changed(draw: Draw, data: bytes) -> bytes:
    """An array whose header is changed, or whose numbers are cut off; what is no array stays."""
    if not data.startswith(b"\x93NUMPY\x01\x00") or len(data) < 10:
        return data
    (length,) = struct.unpack_from("<H", data, 8)
    header, numbers = data[10 : 10 + length].decode("latin-1"), data[10 + length :]
    descr = header.partition("'descr': ")[2].partition(", 'fortran_order'")[0]
    shape = header.partition("'shape': ")[2].partition(", }")[0]
    kind = draw.number(0, 9)
    version, told = (1, 0), None
    if kind <= 2 and descr:
        header = header.replace(descr, draw.one(_DESCRS))
    elif kind <= 5 and shape:
        header = header.replace(shape, draw.one(_SHAPES))
    elif kind == 6:
        header = draw.one(_HEADERS)
    elif kind == 7:
        header = header.replace("False", draw.one(("True", "1", "None", "'x'", "[]")))
    elif kind == 8:
        version = draw.one(((2, 0), (3, 0), (0, 0), (255, 255)))
    else:
        told = draw.one((0, 1, 65535, length - 1, length + 1))
    numbers = numbers if draw.number(0, 3) else draw.one((b"", numbers[:-1], numbers * 2, b"\xff" * len(numbers)))
    return packed(header, numbers, version, told)


def packed(header: str, numbers: bytes, version: tuple[int, int] = (1, 0), told: int | None = None) -> bytes:
    """An .npy file, with a length of the header that need not be its own."""
    text = header.encode("utf-8" if version == (3, 0) else "latin-1", "replace")
    length = len(text) if told is None else told
    size = (
        struct.pack("<H", max(0, min(length, 65535)))
        if version[0] <= 1
        else struct.pack("<I", max(0, min(length, 2**32 - 1)))
    )
    return b"\x93NUMPY" + bytes(version) + size + text + numbers
