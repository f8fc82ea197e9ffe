"""One process at a time in a folder: the second is told who has it. The system lets go when a process is killed."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import UserError

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"


@contextmanager
def only_here(folder: Path, doing: str) -> Iterator[None]:
    """Makes the folder, and keeps other processes out of what is done within it.

    Args:
        folder: where to.
        doing: what is done, such as "trains", for whoever comes second.

    Raises:
        UserError: another process is at it.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    path = folder / LOCK
    descriptor = _taken(path, folder, doing)
    try:
        yield
    finally:
        # Removed before it is let go: whoever opened it meanwhile looks anew.
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)
        if made:
            # Where nothing was written nothing stays.
            with suppress(OSError):
                folder.rmdir()


def forget_killed(folder: Path) -> None:
    """Removes the lock that a process left which was killed in the folder, where nothing is left to be done in it."""
    if (folder / LOCK).exists():
        # Another may be there, or the folder may only be read.
        with suppress(UserError, OSError), only_here(folder, "is in"):
            pass


def _taken(path: Path, folder: Path, doing: str) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            # Not flock: forked processes, which may live on for seconds, would share it.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return descriptor
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                # A file system without locks, or a full disk.
                return descriptor
            who = path.read_text(encoding="utf-8", errors="replace") or "another process"
            os.close(descriptor)
            raise UserError(
                f"out: {who} {doing} {folder} at this moment; wait for it, end it, or name another folder"
            ) from None
        os.close(descriptor)
