"""The feature folder: one folder a modality, one `<video_id>.npy` a video, and an index that says what is complete."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from .array_file import mapped_array
from .encoders.base import MODALITIES, FeatureDims, Modality
from .errors import UserError
from .feature_faults import ClipHeaders, Fault, FaultKind, Header, all_faults, frames_fault, refuse, widths
from .files import sweep_temporaries, write_array, write_json
from .json_text import decoded

INDEX_FOLDER = "index"
CHECKED = "checked.json"
"""Size and time of the files whose values were found to be finite."""
# Pictures fill the disk, and lose nothing that matters in half precision; a log-mel deviation might.
_DISK_DTYPES: dict[Modality, type[np.floating[Any]]] = {
    "audio": np.float32,
    "video": np.float16,
    "patches": np.float16,
}
_AXES: dict[Modality, int] = {"audio": 2, "video": 2, "patches": 3}
_MEND = "extract these videos again"
# What a file's name may have, 255 bytes, less what the name of an unfinished one has beside it.
_LONGEST_ID = 215


class VideoFeatures(NamedTuple):
    """The features of one video, half or single precision as they are on disk; never to be changed in place."""

    audio: Tensor  # [T, Da]
    video: Tensor  # [T, Dv]
    patches: Tensor  # [T, N, Dp]
    frames: int
    """How many of the T frames are real: the first ones; the others are padding."""


@dataclass(frozen=True)
class IndexRecord:
    """What is known of one complete video."""

    video_id: str
    encoder: str
    frames: int
    duration: float
    silent: bool
    """Whether the video has no sound, so that its audio features are those of silence."""
    source_bytes: int
    """Size of the video file: another size means another video."""
    shapes: dict[str, list[int]]
    weights: str = ""
    """Tells the encoders' weights from others; "" where a preset has only one kind."""
    seconds: int | None = None
    """To how many seconds clips were cut or padded; None took them as they are."""
    keep_long: bool = False
    """Whether longer clips were not cut."""

    @classmethod
    def from_json(cls, value: Any) -> IndexRecord:
        """The record that was written as `value`.

        Raises:
            ValueError: it is none.
            TypeError: fields lack, or are unknown.
        """
        if not isinstance(value, dict):
            raise ValueError("no object")
        record = cls(**value)
        wholes = [record.frames, record.source_bytes, *([] if record.seconds is None else [record.seconds])]
        if not (
            all(isinstance(text, str) for text in (record.video_id, record.encoder, record.weights))
            and all(type(whole) is int and 0 <= whole < 2**63 for whole in wholes)
            and type(record.duration) in (int, float)
            and 0 <= record.duration < math.inf
            and all(type(flag) is bool for flag in (record.silent, record.keep_long))
            and isinstance(record.shapes, dict)
        ):
            raise ValueError("a field of another kind")
        return record


class FeatureSource(Protocol):
    """Where a data set's features come from: a feature folder or a packed store."""

    root: Path

    def load(self, video_id: str) -> VideoFeatures:
        """Reads one video."""

    def headers(self, video_id: str) -> ClipHeaders:
        """What is known of one video without reading values."""

    def value_fault(self, video_id: str) -> Fault | None:
        """What is wrong with the values of one video whose headers are right."""

    def check(self, video_ids: Iterable[str], dims: FeatureDims) -> None:
        """Raises UserError where videos are missing, broken or of another shape."""

    def check_values(self, video_ids: Iterable[str]) -> None:
        """Raises UserError where a video holds NaN or infinity."""


def open_features(path: Path, folders: Mapping[Modality, str], frames: int | None = None) -> FeatureSource:
    """Opens a feature folder, or what `pack` made of it.

    Args:
        path: the folder or the store.
        folders: the name of each modality's folder; a store needs none.
        frames: use at most so many frames of a video; None uses all.

    Raises:
        UserError: there is nothing, or a store that is unfinished or broken.
    """
    # The store reads this module's VideoFeatures.
    from .store import FeatureStore, is_store

    if not path.is_dir():
        raise UserError(f"features: no such folder: {path}; make it with: python -m examples.avqa extract")
    return FeatureStore(path, frames) if is_store(path) else FeatureFolder(path, folders, frames)


def renamed(preset: Mapping[Modality, str], folders: Mapping[str, str]) -> dict[Modality, str]:
    """A preset's folder names, with those that differ put in their place.

    Raises:
        UserError: `folders` names an unknown modality.
    """
    unknown = sorted(set(folders) - set(MODALITIES))
    if unknown:
        raise UserError(f"folders: unknown modality {', '.join(unknown)}; known are {', '.join(MODALITIES)}")
    return {modality: folders.get(modality, preset[modality]) for modality in MODALITIES}


class FeatureFolder:
    """Reads and writes features. Folders that others filled, which have no index, are read just as well.

    Arrays of 16, 32 and 64 bits are read; an axis of one entry that is too many, [T, 1, D] or [1, T, D], is left out.

    Args:
        root: the folder that holds the modalities' folders.
        folders: the name of each modality's folder: {"audio": "vggish", "video": …, "patches": …}.
        frames: use at most so many frames of a video, the first ones; None uses all.

    Raises:
        UserError: `folders` lacks a modality, names an unknown one or a folder outside `root`, or `frames` is less
            than 1.
    """

    def __init__(self, root: Path, folders: Mapping[Modality, str], frames: int | None = None) -> None:
        if set(folders) != set(MODALITIES):
            named = ", ".join(sorted(folders)) or "nothing"
            raise UserError(f"the feature folders name {named}; name exactly {', '.join(MODALITIES)}")
        if frames is not None and frames < 1:
            raise UserError(f"frames must be at least 1, got {frames}")
        for modality in MODALITIES:
            _check_inside(modality, folders[modality])
        self.root = root
        self.folders = dict(folders)
        self.frames = frames
        # What was checked is not read again for every question about a video.
        self._finite: set[str] = set()
        self._real: dict[str, int | None] = {}
        self._widths: dict[Modality, tuple[int, ...]] = {}

    def path(self, video_id: str, modality: Modality) -> Path:
        """The file of one modality of one video.

        Raises:
            UserError: `video_id` is no plain file name.
        """
        return self.root / self.folders[modality] / f"{_plain(video_id)}.npy"

    def index(self, video_id: str) -> IndexRecord | None:
        """The video's index record, or None where there is none.

        Raises:
            UserError: the index file is unreadable.
        """
        path = self._index_path(video_id)
        try:
            return IndexRecord.from_json(decoded(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{path} is no index of features ({error}); delete it and extract the video again"
            ) from None

    def some_record(self) -> IndexRecord | None:
        """The index record of any one video, or None where there is none.

        Raises:
            UserError: the index file is unreadable.
        """
        found = (path for path in (self.root / INDEX_FOLDER).glob("*.json") if not path.name.startswith("."))
        first = next(found, None)
        return self.index(first.stem) if first else None

    def sweep(self) -> None:
        """Removes what processes that were killed left half-written."""
        for name in (*self.folders.values(), INDEX_FOLDER):
            sweep_temporaries(self.root / name)

    def complete(self, video_id: str) -> IndexRecord | None:
        """The video's index record where all its files are there, else None."""
        record = self.index(video_id)
        there = all(self.path(video_id, modality).is_file() for modality in MODALITIES)
        return record if there else None

    def save(self, features: Mapping[Modality, Tensor], record: IndexRecord) -> None:
        """Writes one video: its arrays, then its index, so that an index stands beside complete features only."""
        index_path = self._index_path(record.video_id)
        index_path.unlink(missing_ok=True)
        for modality in MODALITIES:
            array = features[modality].numpy().astype(_DISK_DTYPES[modality])
            write_array(self.path(record.video_id, modality), array)
        write_json(index_path, asdict(record))

    def load(self, video_id: str) -> VideoFeatures:
        """Reads one video.

        Raises:
            UserError: a file is missing, truncated or no array of numbers, holds NaN or infinity, or the modalities
                have different numbers of frames.
        """
        arrays: dict[Modality, npt.NDArray[Any]] = {}
        for modality in MODALITIES:
            path = self.path(video_id, modality)
            array = self._read(path, modality)
            if self._widths and array.shape[1:] != self._widths[modality]:
                raise UserError(f"{path}: shape {list(array.shape)}, it was changed after it was checked; {_MEND}")
            arrays[modality] = np.asarray(array, dtype=np.float16 if array.dtype.itemsize == 2 else np.float32)
            if video_id not in self._finite and not np.isfinite(arrays[modality]).all():
                raise UserError(f"{path}: holds NaN or infinite numbers; extract the video again")
        real = self._real[video_id] if video_id in self._real else self._told(video_id)
        wrong = frames_fault({modality: len(array) for modality, array in arrays.items()}, real)
        if wrong:
            raise UserError(f"{video_id} in {self.root}: {wrong}; extract the video again")
        tensors = {modality: torch.from_numpy(array) for modality, array in arrays.items()}
        frames = len(arrays["video"]) if real is None else real
        return VideoFeatures(tensors["audio"], tensors["video"], tensors["patches"], frames)

    def headers(self, video_id: str) -> ClipHeaders:
        """What is known of one video from its files' headers and its index."""
        found: dict[Modality, Header] = {}
        try:
            for modality in MODALITIES:
                path = self.path(video_id, modality)
                array, fault = self._opened(path, modality)
                found[modality] = Header(str(path), None if array is None else array.shape, fault)
        except UserError as error:
            return ClipHeaders({modality: Header(str(error), None, ("missing", "missing")) for modality in MODALITIES})
        try:
            return ClipHeaders(found, self._told(video_id))
        except UserError as error:
            return ClipHeaders(found, index_fault=str(error))

    def check(self, video_ids: Iterable[str], dims: FeatureDims) -> None:
        """Checks that every video is there and of the right shape, reading no more than each file's header.

        Raises:
            UserError: files are missing, truncated, of another shape or dtype; the first few are named.
        """
        video_ids = set(video_ids)
        refuse(all_faults(self, video_ids, dims), self.root, _MEND)
        self._widths = widths(dims)
        self._real |= {video_id: self._told(video_id) for video_id in video_ids}

    def value_fault(self, video_id: str) -> Fault | None:
        """What is wrong with the values of one video, read anew."""
        self._finite.discard(video_id)
        try:
            self.load(video_id)
        except UserError as error:
            return Fault(video_id, None, "values", str(error))
        return None

    def check_values(self, video_ids: Iterable[str]) -> None:
        """Reads every video's features once, to find NaN and infinity; files that did not change since are skipped.

        Raises:
            UserError: as `load`.
        """
        memory = self.root / CHECKED
        known: dict[str, list[list[int]]] = {}
        if memory.exists():
            # Only a memory: one that cannot be read is made anew.
            with suppress(ValueError, OSError):
                told = decoded(memory.read_bytes())
                known = told if isinstance(told, dict) else {}
        stamps = {video_id: self.stamps(video_id) for video_id in video_ids}
        changed = [video_id for video_id, stamp in stamps.items() if known.get(video_id) != stamp]
        self._finite -= set(changed)
        for video_id in tqdm(changed, desc="reading features", unit="video", delay=2):
            self.load(video_id)
        if changed:
            # In a folder that may only be read they are read again next time.
            with suppress(OSError):
                write_json(memory, known | stamps)
        self._finite |= set(stamps)

    def stamps(self, video_id: str) -> list[list[int]]:
        """Tells the files of one video, as they are used, from changed ones: their sizes and times."""
        found = (self.path(video_id, modality).stat() for modality in MODALITIES)
        used = [] if self.frames is None else [[self.frames]]
        return [[stat.st_size, stat.st_mtime_ns] for stat in found] + used

    def _told(self, video_id: str) -> int | None:
        """How many frames are real by the index, of those that are used."""
        record = self.index(video_id)
        if record is None:
            return None
        return record.frames if self.frames is None else min(record.frames, self.frames)

    def _opened(
        self, path: Path, modality: Modality, mapped: bool = True
    ) -> tuple[npt.NDArray[Any] | None, tuple[FaultKind, str] | None]:
        """The array, memory-mapped or read, or None and what is wrong with the file. Objects are never unpickled."""
        try:
            array: npt.NDArray[Any] = mapped_array(path) if mapped else _whole(path)
        except FileNotFoundError:
            return None, ("missing", "missing")
        except (ValueError, EOFError, OSError) as error:
            return None, ("broken", f"truncated or no array of numbers ({error})")
        if array.dtype.kind != "f" or array.dtype.itemsize not in (2, 4, 8):
            return None, ("broken", f"dtype {array.dtype}, expected float16, float32 or float64")
        if array.ndim == 0:
            return None, ("shape", "shape [], expected one row a frame")
        if array.ndim == _AXES[modality] + 1 and 1 in array.shape[:2]:
            array = array.squeeze(axis=1 if array.shape[1] == 1 else 0)
        return array[: self.frames], None

    def _read(self, path: Path, modality: Modality) -> npt.NDArray[Any]:
        """The values of a file, in memory: whoever shortens a file that is mapped ends this process.

        Raises:
            UserError: it is missing or broken, or was changed while it was read.
        """
        # Headers first: one that promises more than its file holds would take the memory.
        array, fault = self._opened(path, modality)
        if array is not None:
            del array
            array, fault = self._opened(path, modality, mapped=False)
        if array is None:
            raise UserError(f"{path}: {fault[1] if fault else 'unreadable'}; extract the video again")
        return array

    def _index_path(self, video_id: str) -> Path:
        return self.root / INDEX_FOLDER / f"{_plain(video_id)}.json"


def _whole(path: Path) -> npt.NDArray[Any]:
    with path.open("rb") as file:
        array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _plain(video_id: str) -> str:
    plain = PurePosixPath(video_id).name == video_id == PureWindowsPath(video_id).name
    if not plain or not video_id or video_id.startswith(".") or "\0" in video_id:
        raise UserError(f"video id {video_id!r} is no plain file name; ids may not name other folders")
    # Bytes that were no UTF-8 in a folder of videos.
    if not _is_text(video_id):
        raise UserError(f"video id {video_id!r} is no text in UTF-8; rename the file")
    if (size := len(video_id.encode())) > _LONGEST_ID:
        raise UserError(f"video id {video_id[:40]!r}... has {size} bytes; a file's name has room for {_LONGEST_ID}")
    return video_id


def _check_inside(modality: Modality, name: str) -> None:
    """Features and indexes are written by these names, which a config or a store tells."""
    path = PurePosixPath(name)
    inside = path.parts and not path.is_absolute() and ".." not in path.parts and not {"\\", "\0"} & set(name)
    if not inside or not _is_text(name) or any(len(part.encode()) > 255 for part in path.parts):
        raise UserError(f"folders: {modality} is in {name[:80]!r}; name a folder inside that of the features")


def _is_text(name: str) -> bool:
    """Whether a name can be written anywhere: half a pair of surrogates cannot."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)
