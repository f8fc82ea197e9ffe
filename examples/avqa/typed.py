"""Whether values that a file holds are of the types that a dataclass names."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

Made = TypeVar("Made")


def from_plain(kind: type[Made], values: Any) -> Made:
    """A dataclass of the values of a JSON object: paths as text, tuples as lists, whole numbers for others too.

    Raises:
        TypeError: a field lacks, is unknown, or holds something else; or `values` is no object.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"{type(values).__name__} in place of fields")
    hints = typing.get_type_hints(kind)
    made = {}
    for field in fields(kind):  # type: ignore[arg-type]  # a dataclass by its docstring
        if field.name in values:
            if not _fits(values[field.name], hints[field.name]):
                raise TypeError(f"{field.name} is no {getattr(hints[field.name], '__name__', hints[field.name])}")
            made[field.name] = _converted(values[field.name], hints[field.name])
    if unknown := [str(name) for name in values if name not in made]:
        raise TypeError(f"unknown fields {', '.join(unknown)[:100]}")
    return kind(**made)


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if hint is Path:
        return isinstance(value, str) and "\0" not in value
    if hint is float:
        # A whole number may be too large for a float.
        return (type(value) is int and abs(value) < 2**1000) or (type(value) is float and math.isfinite(value))
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is typing.Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if origin is dict:
        return isinstance(value, dict) and all(
            _fits(key, inner[0]) and _fits(item, inner[1]) for key, item in value.items()
        )
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        wanted = inner[:1] * len(value) if inner[-1:] == (...,) else inner
        return len(value) == len(wanted) and all(map(_fits, value, wanted))
    return type(value) is (type(None) if hint is None else hint)


def nulls(hints: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """Names of what is None though its type has no None; dotted within the values of a dataclass's fields."""
    found = []
    for name, value in values.items():
        hint = hints.get(name, Any)
        if value is None and not _fits(None, hint):
            found.append(name)
        elif is_dataclass(hint) and isinstance(value, Mapping):
            found += [f"{name}.{one}" for one in nulls(typing.get_type_hints(hint), value)]
    return found


def _converted(value: Any, hint: Any) -> Any:
    """Text as a path, lists as tuples, where that is what is meant."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _converted(value, next(one for one in inner if _fits(value, one)))
    if hint is Path:
        return Path(value)
    if origin is tuple:
        wanted = inner[:1] * len(value) if inner[-1:] == (...,) else inner
        return tuple(map(_converted, value, wanted))
    return value
