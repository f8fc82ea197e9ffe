"""Files that visitors of the page upload: their limits, who holds them, and that they are removed."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os import getpid
from pathlib import Path
from threading import Lock

from .errors import UserError
from .files import process_runs
from .media import probe

KEPT_S = 3600
"""After so many seconds an uploaded file is removed, whoever holds it."""
MB = 2**20
"""As Gradio counts, too."""
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
    """Which visitor holds which uploaded file. A file has one path, by its content: two visitors may hold the same."""

    def __init__(self) -> None:
        self._held: dict[str, Path] = {}
        self._lock = Lock()

    def hold(self, session: str, video: Path | None) -> Path | None:
        """Gives a visitor another file, or none; returns the file that nobody holds any more, now removed."""
        with self._lock:
            before = self._held.pop(session, None)
            if video is not None:
                self._held[session] = video
            if before is None or before in self._held.values():
                return None
            before.unlink(missing_ok=True)
            # The folder is named by the content, and the same content may have been uploaded under two names.
            with suppress(OSError):
                before.parent.rmdir()
            return before


@contextmanager
def upload_folder() -> Iterator[Path]:
    """A new folder for everything that is uploaded, removed at the end; so are those of killed processes."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        named = re.match(rf"{_PREFIX}(\d+)-", left.name)
        if named and not process_runs(int(named[1])):
            # Another user's folder of that name cannot be removed, and stays.
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{getpid()}-") as folder:
        yield Path(folder)
