"""What is fuzzed: a parser, valid files for it, and how these are changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from examples.avqa.errors import UserError

Files = Mapping[str, bytes]
"""A folder: contents by name, such as `index/a.json`."""
Value = TypeVar("Value")


class Draw:
    """Chooses. Changes know nothing of who: a generator of random numbers, or Hypothesis.

    Args:
        integer: a whole number between two, both included.
    """

    def __init__(self, integer: Callable[[int, int], int]) -> None:
        self.number = integer

    def one(self, values: tuple[Value, ...] | list[Value]) -> Value:
        """One of them."""
        return values[self.number(0, len(values) - 1)]


Change = Callable[[Draw, bytes], bytes]
"""Makes a file another."""


@dataclass(frozen=True)
class Parser:
    """Something that reads files which may come from anyone."""

    name: str
    seeds: Callable[[], tuple[Files, ...]]
    """Valid folders."""
    changes: Mapping[str, tuple[Change, ...]]
    """How each file that is attacked is changed; the others stay as they are."""
    parse: Callable[[Path], None]
    """Reads the folder as the program does, and asserts that what was read is right; raises what the program raises."""
    refusals: tuple[type[BaseException], ...] = (UserError,)
    """The clear errors."""
    memory: int = 256 << 20
    """Bytes that one input may take at most, beyond what the process has before."""
    instrumented: tuple[str, ...] = ("examples.avqa",)
    """Modules whose branches guide the fuzzer."""
