"""Files are written whole or not at all: to a temporary name beside the target, then renamed."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_HOST = f"{zlib.crc32(socket.gethostname().encode()):08x}"
_TEMPORARY = re.compile(r"\..*\.([0-9a-f]{8})\.(\d+)\.tmp(\.\w+)?")
_ABANDONED_S = 24 * 3600


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Gives a temporary path with the same suffix; on success it is renamed to `path`, on failure removed.

    Two processes, on two machines too, may write the same target at once: each has its own temporary name, the last
    rename wins.

    Raises:
        OSError: it cannot be written; the error names `path`, whatever failed.
    """
    temporary = path.with_name(f".{path.stem}.{_HOST}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        # A write that fails names no file, and a temporary name says nothing to its reader.
        if error.errno is None or error.filename not in (None, str(temporary), temporary):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def sweep_temporaries(folder: Path) -> None:
    """Removes the temporary files in a folder that killed processes left; those of live ones stay.

    Of other machines' processes nothing is known: theirs are removed after a day.
    """
    for path in folder.glob(".*.tmp*"):
        named = _TEMPORARY.fullmatch(path.name)
        if named is None:
            continue
        # Another process may sweep, or finish, at the same moment.
        with suppress(FileNotFoundError):
            if named[1] == _HOST:
                left = int(named[2]) == os.getpid() or not process_runs(int(named[2]))
            else:
                left = time.time() - path.stat().st_mtime > _ABANDONED_S
            if left:
                path.unlink()


def process_runs(pid: int) -> bool:
    """Whether a process of this machine runs; one that was killed, and that nobody waited for, does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text to `path`, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as JSON to `path`, whole or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Writes one `.npy` file, whole or not at all, without pickling."""
    # numpy writes into a file itself, and does not say why it cannot.
    whole = io.BytesIO()
    np.save(whole, array, allow_pickle=False)
    with written_whole(path) as temporary:
        temporary.write_bytes(whole.getbuffer())
