"""Files that torch saved and that may come from anyone: numbers, text and tensors, never more than the file holds."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch


def load_plain(path: Path, *, mmap: bool = False, checksums: bool = True) -> Any:
    """What `torch.save` wrote, on the CPU; nothing but tensors and plain values is unpickled.

    Args:
        path: an archive, or a file from before torch 1.6.
        mmap: whether tensors stay on the disk until they are used.
        checksums: whether to read an archive whole and compare its checksums, which torch does not: of a bit that
            turned on the disk, nothing else would tell. Files from before torch 1.6 have none.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is cut off, changed, or holds something else.
    """
    with path.open("rb") as file:
        archive = file.read(2) == b"PK"
    try:
        if archive:
            _check_archive(path, checksums)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap and archive)
    except OSError:
        raise
    except Exception as error:  # the unpickler's errors are of many kinds
        # What torch says is about pickles and trust, and of several lines.
        said = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ValueError(said[:200]) from error


def _check_archive(path: Path, checksums: bool) -> None:
    """Members are as long as they are in the file: torch writes them so, and others would grow in memory."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("members of the archive are compressed, as torch never writes them")
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise ValueError("members of the archive overlap")
        if checksums and (changed := archive.testzip()) is not None:
            raise ValueError(f"{changed} in it is not what was written (checksum)")
