"""Files that visitors of the page upload: their limits, who holds them, and that they are removed."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from .errors import UserError
from .files import process_runs
from .media import probe

KEPT_S = 3600
"""After so many seconds an uploaded file is removed, whoever holds it."""
KEPT_FILES = 16
"""So many of the largest files lie there at once."""
MB = 2**20
"""As Gradio counts, too."""
_MOST_FILES, _MOST_HELD = 1000, 256
_PREFIX = "gaussian-moe-serve-"


@dataclass(frozen=True)
class Limits:
    """What may be uploaded.

    Args:
        megabytes: size of a file, in units of 2²⁰ bytes.
        seconds: length of a clip, by its header.

    Raises:
        UserError: a limit under 1.
    """

    megabytes: int = 100
    seconds: int = 180

    def __post_init__(self) -> None:
        for name, value in (("max_upload_mb", self.megabytes), ("max_seconds", self.seconds)):
            if value < 1:
                raise UserError(f"{name} must be at least 1, got {value}")

    @property
    def bytes(self) -> int:
        """Size of a file."""
        return self.megabytes * MB

    @property
    def bytes_of_all(self) -> int:
        """Size of all files of visitors together."""
        return KEPT_FILES * self.bytes

    def check(self, video: Path) -> None:
        """Reads a file's header, before anything of it is decoded.

        Raises:
            UserError: it is no video, larger or longer than allowed, or gone.
        """
        if not video.exists():
            raise UserError(f"{video} is no longer here: uploads are removed after an hour; upload it again")
        size = video.stat().st_size
        if size > self.bytes:
            raise UserError(
                f"{video} has {size / MB:.1f} MB, and this page takes {self.megabytes} MB at most; upload a smaller "
                "clip, or start the page with a larger --max_upload_mb"
            )
        duration = probe(video).duration
        if duration > self.seconds:
            raise UserError(
                f"{video} lasts {duration:.1f} s, and this page takes {self.seconds} s at most; upload a shorter clip, "
                "or start the page with a larger --max_seconds"
            )


class Uploads:
    """Which visitor holds which uploaded file. A file has one path, by its content: two visitors may hold the same.

    Args:
        folder: where files that are uploaded lie, each in a folder that is named by its content; beside them copies of
            the page's own files.
        most_bytes: of all files of visitors together; beyond that no further one is taken.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder = folder.resolve()
        self._most_bytes = most_bytes
        self._held: OrderedDict[str, Path] = OrderedDict()
        self._own: set[Path] = set()
        self._lock = Lock()

    def own(self, copy: Path) -> None:
        """Marks a file as the page's own: no visitor's leaving removes it."""
        with self._lock:
            self._own.add(copy.resolve())

    def contains(self, path: str) -> bool:
        """Whether a path is that of a file in one of the folder's folders, wherever links lead; it may be gone."""
        try:
            parts = Path(os.path.realpath(path)).relative_to(self.folder).parts
        # A NUL, or no text at all.
        except ValueError:
            return False
        return len(parts) == 2

    def hold(self, session: str, video: Path | None) -> list[Path]:
        """Gives a visitor another file, or none; returns the files that nobody holds any more, now removed."""
        with self._lock:
            left = [self._held.pop(session, None)]
            if video is not None:
                self._held[session] = video
            if len(self._held) > _MOST_HELD:
                left.append(self._held.popitem(last=False)[1])
            return [path for path in left if path is not None and self._removed(path)]

    def _removed(self, path: Path) -> bool:
        # Nothing but what was uploaded, whatever a request has named.
        if path in self._held.values() or path.resolve() in self._own or not self.contains(str(path)):
            return False
        with suppress(OSError):
            path.unlink()
        # The folder is named by the content, and the same content may have been uploaded under two names.
        with suppress(OSError):
            path.parent.rmdir()
        return True

    def room(self, size: int) -> bool:
        """Whether there is room for `size` bytes more; files that are too old are removed before."""
        used = count = 0
        for path in list(self.folder.rglob("*")):
            # Another request may remove it at the same moment.
            with suppress(OSError):
                found = path.stat()
                if path.is_dir() or path in self._own:
                    continue
                if time.time() - found.st_ctime > KEPT_S:
                    path.unlink()
                else:
                    used, count = used + found.st_size, count + 1
        return used + size <= self._most_bytes and count < _MOST_FILES

    def sweep(self) -> None:
        """Removes what uploads that were broken off left: files that lie in no folder. None may be running."""
        for path in self.folder.iterdir():
            with suppress(OSError):
                if not path.is_dir():
                    path.unlink()


@contextmanager
def upload_folder() -> Iterator[Path]:
    """A new folder for everything that is uploaded, removed at the end; so are those of killed processes."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        named = re.match(rf"{_PREFIX}(\d+)-", left.name)
        if named and not process_runs(int(named[1])):
            # Another user's folder of that name cannot be removed, and stays.
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-") as folder:
        yield Path(folder)
