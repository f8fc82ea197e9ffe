"""Changes to files that a process makes: counted, and the process killed at one of them."""

from __future__ import annotations

import mmap
import os
import resource
import signal
import sys
from collections.abc import Callable

_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")


class Counted:
    """Counts the changes of a process that is forked from this one: `prepare` is to be called within it."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8)

    @property
    def number(self) -> int:
        """How many there were."""
        return int.from_bytes(self._shared[:], "little")

    def prepare(self) -> None:
        """Begins to count."""
        _before_each(self._count)

    def _count(self, before: int) -> None:
        self._shared[:] = (before + 1).to_bytes(8, "little")


def die_at(change: int, size: int | None = None) -> None:
    """Lets this process be killed at a change to a file, in Python, as `kill -9` would.

    Args:
        change: its number, counted from 0.
        size: bytes that files may have from then on: the process dies with the first that would be larger, written so
            far. None to die before the change.
    """

    def die(before: int) -> None:
        if before != change:
            return
        if size is None:
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    # Python ignores it. What else it may do is what SIGKILL does.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    _before_each(die)


def _before_each(what: Callable[[int], None]) -> None:
    number = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal number
        if event in _CHANGES or (event == "open" and _writes(arguments)):
            number += 1
            what(number - 1)

    sys.addaudithook(hook)


def _writes(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
