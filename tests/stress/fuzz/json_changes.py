"""Changes of JSON that keep most of it valid: values of other kinds and sizes, keys that lack or stand twice."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from .parser import Draw


class Raw(str):
    """Text that stands in a document as it is, valid or not."""

    __slots__ = ()


class Pairs(list[tuple[Any, Any]]):
    """An object, whose keys may stand twice."""


class _Place(NamedTuple):
    """A value in a document: an item of a list, or the second of a pair."""

    parent: list[Any]
    at: int

    @property
    def value(self) -> Any:
        found = self.parent[self.at]
        return found[1] if isinstance(self.parent, Pairs) else found

    def put(self, value: Any) -> None:
        self.parent[self.at] = (self.parent[self.at][0], value) if isinstance(self.parent, Pairs) else value


NAMES: tuple[str, ...] = (
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    "..\\a",
    "c:\\a",
    "con",
    "NUL.npy",
    ".",
    "..",
    "",
    " ",
    ".hidden",
    "~",
    "a\0b",
    "a\nb",
    "x" * 256,
    "é" * 200,
    "\u202eabc",
    "e\u0301",
    "$(touch canary)",
    "-rf",
    "%s%n{0}{}",
)
_STRINGS: tuple[str, ...] = (
    *NAMES,
    "x" * 50_000,
    "x" * 5000,
    "\x1b[2J",
    "a\rb",
    "=1+1",
    "|",
    "<Object>",
    "<" * 1000,
    "[]",
    "['a', \"b's\"]",
    "[" * 100_000,
    "[" * 500 + "]" * 500,
    "(" * 150 + ")" * 150,
    "-" * 100_000 + "1",
    "~" * 3000 + "1",
    "[" + "'a'," * 1000 + "]",
    "{[]: 1}",
    "['\\ud800']",
    '["\\ud800"]',
    "['\\N{DIGIT ONE}', '\\777', '\\z']",
    "[b'a']",
    "['a' 'b']",
    "__import__('os').system('touch canary')",
    "9" * 5000,
    "[" + "9" * 5000 + "]",
    "1e999",
    "nan",
    "\0",
    "'''",
    "\\",
)
_NUMBERS: tuple[str, ...] = (
    "0",
    "-1",
    "1",
    "-0.0",
    "0.5",
    "1.0",
    "1e308",
    "1e999",
    "-1e999",
    "NaN",
    "Infinity",
    "-Infinity",
    "4096",
    "2147483648",
    "4611686018427387904",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "9" * 4000,
    "9" * 5000,
    "1" + "0" * 400,
)
_OTHERS: tuple[str, ...] = (
    "null",
    "true",
    "false",
    "[]",
    "{}",
    "[[]]",
    "[null]",
    '{"":0}',
    '"\\ud800"',
    '"\\udfff\\ud800"',
    '"\\u0000"',
    "[" * 100_000,
    "[" * 100_000 + "]" * 100_000,
    '{"a":' * 100_000 + "0" + "}" * 100_000,
    "[" * 900 + "]" * 900,
    "[" + "0," * 5000 + "0]",
    "undefined",
    "'a'",
    "",
)
VALUES: tuple[Raw, ...] = tuple(map(Raw, (*map(json.dumps, _STRINGS), *_NUMBERS, *_OTHERS)))
"""Values that a document may hold where another is meant."""


def written(value: Any) -> str:
    """JSON text, with what is `Raw` as it is."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Pairs):
        return "{" + ", ".join(f"{written(key)}: {written(item)}" for key, item in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def changed_tree(draw: Draw, tree: Any, values: tuple[Raw, ...] = VALUES) -> Any:
    """A document with one value, key or item changed, in place where it can be; `tree` holds `Pairs` for objects."""
    holder = [tree]
    places = _places(holder)
    # The whole document seldom.
    place = draw.one(places[1:] if len(places) > 1 and draw.number(0, 9) else places)
    kind = draw.number(0, 9)
    if kind <= 4:
        place.put(draw.one(values))
    elif kind == 5 and place.parent is not holder:
        del place.parent[place.at]
    elif kind == 6 and place.parent is not holder:
        place.parent.extend([place.parent[place.at]] * draw.one((1, 2, 50)))
    elif kind == 7:
        place.put(_of_another_type(place.value))
    elif kind == 8 and isinstance(place.value, Pairs):
        place.value.append((draw.one(values) if draw.number(0, 1) else "unknown", draw.one(values)))
    else:
        # By text: a document may not hold itself.
        place.put(Raw(written(draw.one(places).value)))
    return holder[0]


def json_changed(draw: Draw, data: bytes) -> bytes:
    """A file of JSON with a value changed; one that is no JSON already stays."""
    try:
        tree = json.loads(data.decode("utf-8-sig"), object_pairs_hook=Pairs)
        return written(changed_tree(draw, tree)).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return data


def _places(top: list[Any]) -> list[_Place]:
    """Every value, the whole document first."""
    found, waiting = list[_Place](), [_Place(top, 0)]
    while waiting:
        place = waiting.pop()
        found.append(place)
        if isinstance(place.value, list):
            waiting += [_Place(place.value, index) for index in range(len(place.value))]
    return found


def _of_another_type(value: Any) -> Any:
    """The same in another form: a number as text, text in a list, an object as a list."""
    if isinstance(value, Pairs):
        return [item for _, item in value]
    if isinstance(value, list):
        return Pairs((str(number), item) for number, item in enumerate(value))
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return float(value) if abs(value) < 2**53 else str(value)
    return [value] if isinstance(value, str) else str(value)
