"""Starts a command by way of a process that holds little memory."""

from __future__ import annotations

from collections.abc import Sequence


def by_shell(command: Sequence[str]) -> list[str]:
    """The command, started by a shell: the most memory of a process counts what the one held that started it."""
    return ["sh", "-c", '"$@"; exit $?', "sh", *command]
