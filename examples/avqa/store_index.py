"""What a packed store holds and where: one JSON file, written last, that makes a store of the bytes beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .encoders.base import MODALITIES, Modality
from .errors import UserError
from .files import write_json
from .json_text import decoded

DATA, INDEX, JOURNAL = "features.bin", "store.json", "packing.jsonl"
FORMAT = 1
PAGE = 4096
"""Clips start at multiples of it, so that a clip is whole pages of the file."""
_DTYPES = ("float16", "float32")


class StoredModality(NamedTuple):
    """How one modality is written."""

    dtype: str
    shape: tuple[int, ...]
    """Of one frame."""


class StoredClip(NamedTuple):
    """Where one clip is."""

    offset: int
    """Bytes before it."""
    frames: int
    real: int
    """How many of the frames are no padding."""
    crc32: int
    """Of the clip's bytes."""


@dataclass(frozen=True)
class Layout:
    """How every clip is written: its modalities side by side, in the order of `MODALITIES`, filled up to a page.

    Examples:
        >>> layout = Layout({name: StoredModality("float16", (4,)) for name in MODALITIES})
        >>> layout.size(frames=100), layout.starts(frames=100)
        (4096, {'audio': 0, 'video': 800, 'patches': 1600})
    """

    modalities: Mapping[Modality, StoredModality]

    def starts(self, frames: int) -> dict[Modality, int]:
        """Where each modality of a clip starts, in bytes from the clip's start."""
        starts, end = dict[Modality, int](), 0
        for modality in MODALITIES:
            starts[modality] = end
            end += -(-self._bytes(modality, frames) // 8) * 8
        return starts

    def size(self, frames: int) -> int:
        """Bytes of a clip, whole pages."""
        last = MODALITIES[-1]
        return -(-(self.starts(frames)[last] + self._bytes(last, frames)) // PAGE) * PAGE

    def arrays(self, data: bytearray, frames: int) -> dict[Modality, npt.NDArray[Any]]:
        """The modalities of a clip within its bytes."""
        return {
            modality: np.frombuffer(data, stored.dtype, frames * math.prod(stored.shape), start).reshape(
                frames, *stored.shape
            )
            for (modality, stored), start in zip(self._ordered(), self.starts(frames).values(), strict=True)
        }

    def _ordered(self) -> list[tuple[Modality, StoredModality]]:
        return [(modality, self.modalities[modality]) for modality in MODALITIES]

    def _bytes(self, modality: Modality, frames: int) -> int:
        stored = self.modalities[modality]
        return frames * math.prod(stored.shape) * np.dtype(stored.dtype).itemsize


@dataclass(frozen=True)
class StoreIndex:
    """All that is known of a finished store."""

    settings: Mapping[str, Any]
    """What it was packed with: encoder, folders, frames."""
    layout: Layout
    clips: Mapping[str, StoredClip]
    left_out: Mapping[str, str]
    """Videos that could not be packed, and why."""
    sources: str
    """Tells the packed files, by name, size and time, from others."""

    @property
    def bytes(self) -> int:
        """Size of the data."""
        return max((clip.offset + self.layout.size(clip.frames) for clip in self.clips.values()), default=0)

    def write(self, root: Path) -> None:
        """Makes a store of the data in `root`."""
        write_json(
            root / INDEX,
            {
                "format": FORMAT,
                "settings": self.settings,
                "modalities": {name: stored._asdict() for name, stored in self.layout.modalities.items()},
                "bytes": self.bytes,
                "sources": self.sources,
                "left_out": self.left_out,
                "clips": {video_id: clip._asdict() for video_id, clip in self.clips.items()},
            },
        )

    @classmethod
    def read(cls, root: Path) -> StoreIndex:
        """The index of the store in `root`.

        Raises:
            UserError: the store is unfinished, of another version, or broken.
        """
        path = root / INDEX
        try:
            value = decoded(path.read_bytes())
            if value["format"] != FORMAT:
                raise UserError(f"{path} is of format {value['format']}, this program reads {FORMAT}; pack again")
            layout = Layout({name: _modality(value["modalities"][name]) for name in MODALITIES})
            clips = {video_id: clip_from_json(clip) for video_id, clip in value["clips"].items()}
            settings, left_out, sources = value["settings"], value["left_out"], value["sources"]
            if not (isinstance(settings, dict) and isinstance(sources, str) and _are_texts(left_out)):
                raise ValueError("settings, sources or left_out are of another kind")
            index = cls(settings, layout, clips, left_out, sources)
            if index.bytes != value["bytes"]:
                raise ValueError(f"clips end at {index.bytes}, not at {value['bytes']}")
        except FileNotFoundError:
            raise UserError(f"{root} holds an unfinished store; give the same pack command again") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is no index of a packed store ({error!r}); delete {root} and pack again") from None
        return index


def _modality(value: dict[str, Any]) -> StoredModality:
    if value["dtype"] not in _DTYPES:
        raise ValueError(f"dtype {value['dtype']}")
    return StoredModality(value["dtype"], tuple(_whole(size, 1) for size in value["shape"]))


def clip_from_json(value: Any) -> StoredClip:
    """The clip that was written as `value`.

    Raises:
        ValueError: a number that cannot be.
        KeyError: one lacks.
        TypeError: it is no object.
    """
    frames = _whole(value["frames"], 1)
    offset, real = _whole(value["offset"], 0), _whole(value["real"], 1)
    if real > frames or offset % PAGE:
        raise ValueError(f"a clip at {offset} with {real} of {frames} frames real")
    return StoredClip(offset, frames, real, _whole(value["crc32"], 0))


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _whole(value: Any, least: int) -> int:
    if type(value) is not int or not least <= value < 2**63:
        raise ValueError(f"{value!r:.40} is no whole number of at least {least}")
    return value
