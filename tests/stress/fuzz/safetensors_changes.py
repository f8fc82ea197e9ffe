"""Changes of safetensors files: headers that lie about names, shapes and places."""

from __future__ import annotations

import json
import struct

from .json_changes import VALUES, Pairs, Raw, changed_tree, written
from .parser import Draw

_LENGTHS: tuple[int, ...] = (0, 1, 7, 2**31, 2**32, 2**62, 2**63, 2**64 - 1, 100_000_000, 100_000_001)
_VALUES: tuple[Raw, ...] = (
    *VALUES,
    *map(
        Raw,
        (
            '"F64"',
            '"BF16"',
            '"I64"',
            '"BOOL"',
            '"F8_E4M3"',
            '"U4"',
            "[0, 0]",
            "[0, 1]",
            "[8, 0]",
            "[0, 9223372036854775807]",
            "[4611686018427387904, 4]",
            "[4294967296, 4294967296, 4294967296]",
            "[0, 4611686018427387904]",
        ),
    ),
)


def safetensors_changed(draw: Draw, data: bytes) -> bytes:
    """A file with its header, the header's length or its end changed; what is no such file stays."""
    if len(data) < 8:
        return data
    (length,) = struct.unpack_from("<Q", data)
    kind = draw.number(0, 9)
    if kind == 0:
        return struct.pack("<Q", draw.one(_LENGTHS)) + data[8:]
    if kind == 1:
        return data[:-1] if draw.number(0, 1) else data + b"\0"
    try:
        header = json.loads(data[8 : 8 + length], object_pairs_hook=Pairs)
        text = written(changed_tree(draw, header, _VALUES)).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return data
    return struct.pack("<Q", len(text)) + text + data[8 + length :]
