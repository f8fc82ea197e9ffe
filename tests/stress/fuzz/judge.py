"""What one input does to a parser: a right result, a clear refusal, or a fault."""

from __future__ import annotations

import shutil
import time
import traceback
from pathlib import Path
from typing import Literal, NamedTuple

from examples.avqa.errors import LONGEST

from .parser import Files, Parser

SECONDS = 10.0
CANARY = "canary"
"""A file that inputs try to make: one that is there was made by running what is only to be read."""


class Trial(NamedTuple):
    """One input."""

    kind: Literal["right", "refused", "fault"]
    text: str
    """The message, or what went wrong."""
    seconds: float
    memory: int
    """Bytes at the most beyond those before."""


def tried(parser: Parser, files: Files, folder: Path) -> Trial:
    """Writes the files, has them read, and judges.

    Args:
        parser: what reads.
        files: the input.
        folder: an empty folder of its own, emptied again afterwards.
    """
    case = folder / "case"
    case.mkdir()
    for name, content in files.items():
        path = case / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    before = _reset_peak()
    began = time.monotonic()
    kind: Literal["right", "refused", "fault"] = "right"
    text = ""
    try:
        parser.parse(case)
    except parser.refusals as error:
        text = str(error)
        fault = unclear(text, case)
        kind, text = ("fault", f"{fault}: {text[:300]!r}") if fault else ("refused", text)
    except BaseException as error:  # whatever is raised is what is looked for
        kind, text = "fault", f"{type(error).__name__}: {str(error)[:300]} at {_where(error)}"
    seconds, memory = time.monotonic() - began, max(_peak() - before, 0)
    if memory > parser.memory:
        kind, text = "fault", f"{memory >> 20} MiB of memory"
    if strays := {path.name for path in folder.iterdir()} - {"case"} or {CANARY} & {
        path.name for path in case.iterdir()
    }:
        kind, text = "fault", f"made {', '.join(sorted(strays))}"
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return Trial(kind, text, seconds, memory)


def unclear(message: str, folder: Path) -> str:
    """Why a message is no clear line; empty where it is one."""
    if len(message.splitlines()) != 1 or not message.isprintable():
        return "a message that is not one printable line"
    if len(message) > LONGEST:
        return f"a message of {len(message)} characters"
    return "" if str(folder) in message else "a message that names no file"


def _where(error: BaseException) -> str:
    """The innermost place in this project."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "site-packages" not in frame.filename and "/lib/python" not in frame.filename]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(ours[-3:]))


def _reset_peak() -> int:
    """Has the system note the peak anew; returns what is in memory."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS:")


def _peak() -> int:
    return _status("VmHWM:")


def _status(field: str) -> int:
    with Path("/proc/self/status").open() as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(field))
