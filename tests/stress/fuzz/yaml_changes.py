"""Changes of YAML: values of other kinds, anchors, tags, and documents that grow when they are read."""

from __future__ import annotations

from typing import Any

import yaml

from .json_changes import VALUES, Pairs, Raw, changed_tree, written
from .parser import Draw

_LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
)
_DOCUMENTS: tuple[str, ...] = (
    _LAUGHS,
    "data: &a {answers: *a}\n",
    "&a [*a]\n",
    "data: {<<: &a {<<: *a}}\n",
    "--- 1\n--- 2\n",
    "- 1\n",
    "text\n",
    "null\n",
    "{[]: 1}\n",
    "? {a: 1}\n: 2\n",
    "%YAML 9.9\n---\n",
    "%TAG ! tag:yaml.org,2002:python/\n--- !object:os.system x\n",
    "!!python/object/apply:os.system ['touch canary']\n",
    "out: !!python/object/apply:os.system ['touch canary']\n",
    "data: !!python/name:os.system\n",
    "\t- tab\n",
    "a: b: c\n",
    "{" * 2000,
    "[" * 50_000,
    "- " * 5000 + "x\n",
    "? " * 5000 + "x\n",
    "a: |\n" + " x\n" * 10_000,
    "config: other.yaml\n",
    "data: data.yaml\n",
    "data:\n  answers: x\ndata:\n  answers: y\n",
)
_VALUES: tuple[Raw, ...] = (
    *VALUES,
    *map(
        Raw,
        (
            "*missing",
            "&a x",
            "&a [*a]",
            "!!binary x",
            "!!timestamp x",
            "!!int x",
            "!!int '9'",
            "!!float x",
            "!!set {a, b}",
            "!!omap [a: 1]",
            "!unknown x",
            "2001-13-45",
            "2001-01-01",
            "1:1:1",
            "9:" * 300 + "9",
            "0x" + "f" * 5000,
            "0b2",
            "1_000",
            ".inf",
            "-.inf",
            ".nan",
            "~",
            "=",
            "<<",
            "yes",
            "1e3",
            "1e-400",
            "'\\0'",
            '"\\0"',
            '"\\x1b[2J"',
            '"\\ud800"',
            "@x",
            "`x`",
        ),
    ),
)


def yaml_changed(draw: Draw, data: bytes) -> bytes:
    """A configuration with a value changed, or another document; what is no YAML stays."""
    if not draw.number(0, 5):
        return draw.one(_DOCUMENTS).encode()
    if b"*a" in data:
        # It would be walked to its end.
        return data
    try:
        tree = _pairs(yaml.safe_load(data))
        return written(changed_tree(draw, tree, _VALUES)).encode("utf-8", "surrogatepass")
    # What the library raises of numbers, dates and keys, besides its own.
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError, AttributeError):
        return data


def _pairs(value: Any) -> Any:
    if isinstance(value, dict):
        return Pairs((key, _pairs(item)) for key, item in value.items())
    return [_pairs(item) for item in value] if isinstance(value, list) else value
