"""Reads a packed store: one memory-mapped file, a clip one contiguous part of it, in half precision."""

from __future__ import annotations

import math
import mmap
import warnings
import zlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .encoders.base import MODALITIES, FeatureDims, Modality
from .errors import UserError
from .feature_faults import ClipHeaders, Fault, Header, all_faults, refuse
from .features import VideoFeatures
from .store_index import DATA, INDEX, JOURNAL, StoredClip, StoreIndex

_MEND = "pack them: python -m examples.avqa pack --features FOLDER --out a new store"


def is_store(path: Path) -> bool:
    """Whether a folder holds a store, finished or not."""
    return any((path / name).exists() for name in (INDEX, JOURNAL))


class FeatureStore:
    """Reads the features that `pack` put together.

    What is loaded are views of the mapped file, without a copy: they are read when they are used, and processes share
    them. Writing into them ends the process, and so does reading what another program cuts off the file: its size is
    looked at before each clip, so that this is told unless it happens at that very moment.

    Args:
        root: the store.
        frames: use at most so many frames of a video, the first ones; None uses all.

    Raises:
        UserError: the store is unfinished or broken, or `frames` is less than 1.
    """

    def __init__(self, root: Path, frames: int | None = None) -> None:
        if frames is not None and frames < 1:
            raise UserError(f"frames must be at least 1, got {frames}")
        self.root, self.frames = root, frames
        self.index = StoreIndex.read(root)
        size = (root / DATA).stat().st_size if (root / DATA).exists() else 0
        if size != self.index.bytes:
            raise UserError(
                f"{root / DATA} has {size} bytes, its index tells {self.index.bytes}; delete {root} and pack again"
            )

    def load(self, video_id: str) -> VideoFeatures:
        """One video.

        Raises:
            UserError: the store does not hold it, or was cut off since it was opened.
        """
        if video_id not in self.index.clips:
            raise UserError(f"{self._missing(video_id)}; {_MEND}")
        clip = self.index.clips[video_id]
        used = clip.frames if self.frames is None else min(clip.frames, self.frames)
        self._check_whole()
        self._announce(clip)
        tensors = {}
        for modality, start in self.index.layout.starts(clip.frames).items():
            stored = self.index.layout.modalities[modality]
            dtype = torch.float16 if stored.dtype == "float16" else torch.float32
            start += clip.offset
            size = used * math.prod(stored.shape) * dtype.itemsize
            tensors[modality] = self._bytes[start : start + size].view(dtype).view(used, *stored.shape)
        return VideoFeatures(tensors["audio"], tensors["video"], tensors["patches"], min(clip.real, used))

    def headers(self, video_id: str) -> ClipHeaders:
        """What is known of one video from the index."""
        clip = self.index.clips.get(video_id)
        found: dict[Modality, Header] = {}
        for modality in MODALITIES:
            where = f"{self.root}: {modality} of {video_id}"
            if clip is None:
                fault = self.index.left_out.get(video_id)
                said = "missing" if fault is None else f"left out when it was packed: {fault}"
                found[modality] = Header(where, None, ("missing", said))
            else:
                used = clip.frames if self.frames is None else min(clip.frames, self.frames)
                found[modality] = Header(where, (used, *self.index.layout.modalities[modality].shape))
        return ClipHeaders(found)

    def check(self, video_ids: Iterable[str], dims: FeatureDims) -> None:
        """Checks that every video is there and of the right shape.

        Raises:
            UserError: videos are missing, or of another shape; the first few are named.
        """
        refuse(all_faults(self, video_ids, dims), self.root, _MEND)

    def check_values(self, video_ids: Iterable[str]) -> None:
        """Nothing: `pack` read every value, and the size of the file is compared when it is opened."""

    def value_fault(self, video_id: str) -> Fault | None:
        """Whether the bytes of one video are still those that were packed."""
        clip = self.index.clips[video_id]
        self._check_whole()
        data = memoryview(self._mapped)[clip.offset : clip.offset + self.index.layout.size(clip.frames)]
        if zlib.crc32(data) == clip.crc32:
            return None
        message = f"{self.root / DATA}: {video_id} is not what was packed (checksum); delete {self.root} and pack again"
        return Fault(video_id, None, "values", message)

    @cached_property
    def _mapped(self) -> mmap.mmap:
        # Not memory that might be written to: the system would count all of it as this process's own.
        try:
            with (self.root / DATA).open("rb") as file:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # An empty file cannot be mapped.
        except (FileNotFoundError, ValueError):
            raise UserError(
                f"{self.root / DATA} was removed or emptied after it was opened; delete {self.root} and pack again"
            ) from None

    @cached_property
    def _bytes(self) -> Tensor:
        with warnings.catch_warnings():
            # That it may not be written to is meant.
            warnings.filterwarnings("ignore", message=".*buffer is not writable.*")
            return torch.frombuffer(self._mapped, dtype=torch.uint8)

    def _announce(self, clip: StoredClip) -> None:
        """Has the whole clip read from disk at once, where it would come page by page."""
        if hasattr(mmap, "MADV_WILLNEED"):
            start = clip.offset - clip.offset % mmap.PAGESIZE
            self._mapped.madvise(mmap.MADV_WILLNEED, start, clip.offset + self.index.layout.size(clip.frames) - start)

    def _check_whole(self) -> None:
        # Of the file that is mapped, whatever has its name now.
        size = self._mapped.size()
        if size < self.index.bytes:
            raise UserError(
                f"{self.root / DATA} was cut off while it was read: {size} bytes are left of {self.index.bytes}; "
                f"delete {self.root} and pack again"
            )

    def _missing(self, video_id: str) -> str:
        left_out = self.index.left_out.get(video_id)
        return f"{self.root} holds no video {video_id}" + (f" (left out: {left_out})" if left_out else "")

    def __getstate__(self) -> dict[str, Any]:
        # Another process maps the file anew.
        return {name: value for name, value in self.__dict__.items() if name not in ("_mapped", "_bytes")}
