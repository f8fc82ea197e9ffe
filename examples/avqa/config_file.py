"""YAML files of options, looked at before they are read: what would grow, nest or run code is told in one line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import yaml

from .errors import UserError

_LARGEST = 1 << 20
_DEEPEST = 30
_MOST = 20_000


def check_config(path: Path) -> None:
    """Refuses a file that is no plain YAML; whether its options are right is the parser's to say.

    Raises:
        UserError: it cannot be read, is no YAML, is nested too deeply, has tags, or grows by its aliases.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"larger than {_LARGEST >> 20} MiB")
        text = path.read_text(encoding="utf-8-sig")
        _check_growth(text)
        value = yaml.safe_load(text)
        if value is not None and not isinstance(value, dict):
            raise ValueError("no options but a single value or a list")
        _check_keys(value)
        plain = json.dumps(value, default=str, ensure_ascii=False)
        plain.encode()
    except OSError as error:
        raise UserError(f"config: {path} cannot be read: {error.strerror}") from None
    except UnicodeEncodeError:
        raise UserError(f"config: {path} holds half of a surrogate pair, which is no text") from None
    # Besides its own, the library raises what Python says of numbers, dates and keys.
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError, AttributeError) as error:
        said = " ".join(str(error).split())[:300]
        raise UserError(f"config: {path} is no YAML of options: {said}") from None
    if "\\u0000" in plain:
        raise UserError(f"config: {path} holds a NUL character, which no name or option has")


def _check_keys(value: object) -> None:
    """Raises ValueError where an option is named by a number, a date or nothing."""
    items: Sequence[object] = ()
    if isinstance(value, dict):
        if odd := [key for key in value if not isinstance(key, str)]:
            raise ValueError(f"the option {odd[0]!r:.40} has a name that is no text")
        items = list(value.values())
    elif isinstance(value, list):
        items = value
    for item in items:
        _check_keys(item)


def _check_growth(text: str) -> None:
    """Counts the values there will be once aliases are followed.

    Raises:
        ValueError: too many or too deep, an alias of what is not there yet, or a tag.
    """
    sizes = dict[str, int]()
    open_nodes: list[list[int]] = [[0]]
    anchors: list[str | None] = [None]
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise ValueError(f"the alias *{event.anchor} stands within what it names, or before it")
            open_nodes[-1][0] += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            if event.tag is not None:
                raise ValueError(f"it has the tag {event.tag}; write plain values")
            if isinstance(event, yaml.ScalarEvent):
                open_nodes[-1][0] += 1
                if event.anchor:
                    sizes[event.anchor] = 1
            else:
                open_nodes.append([1])
                anchors.append(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            (size,), anchor = open_nodes.pop(), anchors.pop()
            open_nodes[-1][0] += size
            if anchor:
                sizes[anchor] = size
        if len(open_nodes) > _DEEPEST:
            raise ValueError("it is nested too deeply")
        if open_nodes[-1][0] > _MOST:
            raise ValueError(f"it holds more than {_MOST} values")
