"""Changes of pickles: instructions that lack, stand twice or are others, numbers that are huge, and calls that must
never be made."""

from __future__ import annotations

import pickle
import pickletools
import struct
from typing import Any

from .byte_changes import BYTES
from .parser import Draw


class _Call:
    """Unpickled, it calls something."""

    def __init__(self, function: str, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        import builtins
        import os
        from pathlib import Path

        known: dict[str, Any] = {
            "system": os.system,
            "exec": builtins.exec,
            "eval": builtins.eval,
            "touch": Path.touch,
            "open": builtins.open,
            "getattr": builtins.getattr,
        }
        return known[self.function], self.arguments


def _calls() -> tuple[bytes, ...]:
    from pathlib import Path

    calls = (
        _Call("system", "touch canary"),
        _Call("exec", "open('canary', 'w')"),
        _Call("eval", "open('canary', 'w')"),
        _Call("touch", Path("canary")),
        _Call("open", "canary", "w"),
        {"state_dict": _Call("system", "touch canary"), "hyper_parameters": _Call("getattr", "", "join")},
    )
    return tuple(pickle.dumps(call, protocol=2) for call in calls)


_DOCUMENTS: tuple[bytes, ...] = (
    *_calls(),
    b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",
    b"\x80\x02" + b"(" * 50_000 + b".",
    b"\x80\x02" + b"}" * 3 + b"s.",
    b"\x80\x02.",
    b".",
    b"\x80\x05\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
    b"\x80\x02X\xff\xff\xff\x7fabc.",
    b"\x80\x02\x8b\xff\xff\xff\x7f.",
    b"\x80\x02\x8a\xff" + b"\x7f" * 255 + b".",
    b"\x80\x02\x8eX\xff\xff\xff\xff\xff\xff\xff\x7f.",
    b"\x80\x02K\x00Q.",
    b"\x80\x02h\x07.",
    b"\x80\x02ctorch\nload\n)R.",
    b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
    b"\x80\x02ctorch._utils\n_rebuild_sparse_tensor\n)R.",
    b"\x80\x02ctorch\nSize\n(J\xff\xff\xff\x7ftR.",
    b"\x80\x02ccollections\nOrderedDict\n)Rq\x00h\x00h\x00s.",
    b"\x80\x02}(X\x10\x00\x00\x00hyper_parametersK\x05X\x0a\x00\x00\x00state_dict]u.",
)
_NUMBERS: tuple[bytes, ...] = (
    b"K\x00",
    b"K\xff",
    b"M\xff\xff",
    b"J\xff\xff\xff\xff",
    b"J\xff\xff\xff\x7f",
    b"J\x00\x00\x00\x80",
    b"\x8a\x08" + struct.pack("<q", 2**62),
    b"\x8a\x08" + struct.pack("<q", -1),
    b"\x8a\x09" + (2**64).to_bytes(9, "little"),
    b"\x8a\xff" + b"\x7f" * 255,
    b"G" + struct.pack(">d", float("nan")),
    b"G" + struct.pack(">d", float("inf")),
    b"G" + struct.pack(">d", -1.0),
    b"G" + struct.pack(">d", 0.5),
    b"N",
    b"\x88",
    b")",
    b"]",
    b"}",
    b"X\x00\x00\x00\x00",
    b"X\x0a\x00\x00\x00../outside",
    b"X\x03\x00\x00\x00\xed\xa0\x80",
)
_NUMERIC = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "NEWTRUE", "NEWFALSE", "NONE", "BINUNICODE"}


def pickle_changed(draw: Draw, data: bytes) -> bytes:
    """A pickle with one instruction changed; what is no pickle is replaced by one that is hostile."""
    try:
        places = [(code.name, place or 0) for code, _, place in pickletools.genops(data)]
    except (ValueError, IndexError, UnicodeDecodeError, OverflowError):
        return draw.one(_DOCUMENTS)
    ends = [place for _, place in places[1:]] + [len(data)]
    kind = draw.number(0, 9)
    if kind == 0:
        return draw.one(_DOCUMENTS)
    if kind == 1:
        return draw.one(BYTES)(draw, data)
    if kind <= 6:
        numeric = [number for number, (name, _) in enumerate(places) if name in _NUMERIC]
        if numeric:
            number = draw.one(numeric)
            return data[: places[number][1]] + draw.one(_NUMBERS) + data[ends[number] :]
    number = draw.number(0, len(places) - 1)
    start, end = places[number][1], ends[number]
    if kind == 7:
        return data[:start] + data[end:]
    if kind == 8:
        return data[:start] + data[start:end] * draw.one((2, 100)) + data[end:]
    other = draw.number(0, len(places) - 1)
    return data[:start] + data[places[other][1] : ends[other]] + data[end:]
