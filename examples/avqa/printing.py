"""Standard output and error that do not end a command: a reader that left, letters that a terminal does not have."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

_LEFT = (errno.EPIPE, errno.EIO)
"""The reader of a pipe has left (`| head`); the terminal was closed."""


class _Patient:
    """A stream that goes on into nothing when its reader has left."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """See TextIOBase."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._goes_on(error)
        return len(text)

    def flush(self) -> None:
        """See TextIOBase."""
        try:
            self._stream.flush()
        except OSError as error:
            self._goes_on(error)
            self._stream.flush()

    def _goes_on(self, error: OSError) -> None:
        if error.errno not in _LEFT:
            raise OSError(error.errno, error.strerror, self._stream.name) from error
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._stream.fileno())
        os.close(nothing)


def make_patient() -> None:
    """Makes this process's standard output and error so; closed ones lead into nothing."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  # open as long as the process
        if isinstance(stream, io.TextIOWrapper):
            # Of a name that is no text, or a block in a bar, something is shown in every encoding.
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, _Patient(stream))


def flush_out() -> str | None:
    """Writes what is left of standard output; returns why it cannot be, so that this is not said after the end."""
    try:
        sys.stdout.flush()
    except OSError as error:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return f"standard output: {error.strerror}"
    return None
