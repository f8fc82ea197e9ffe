"""The feature folder: one folder a modality, one `<video_id>.npy` a video, and an index that says what is complete."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from .encoders.base import MODALITIES, FeatureDims, Modality
from .errors import UserError
from .files import sweep_temporaries, write_array, write_json

INDEX_FOLDER = "index"
CHECKED = "checked.json"
"""Size and time of the files whose values were found to be finite."""
# Pictures fill the disk, and lose nothing that matters in half precision; a log-mel deviation might.
_DISK_DTYPES: dict[Modality, type[np.floating[Any]]] = {
    "audio": np.float32,
    "video": np.float16,
    "patches": np.float16,
}
_SHOWN_OFFENDERS = 5


class VideoFeatures(NamedTuple):
    """The features of one video, float32."""

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


class FeatureFolder:
    """Reads and writes features. Folders that others filled, which have no index, are read just as well.

    Args:
        root: the folder that holds the modalities' folders.
        folders: the name of each modality's folder: {"audio": "vggish", "video": …, "patches": …}.

    Raises:
        UserError: `folders` lacks a modality or names an unknown one.
    """

    def __init__(self, root: Path, folders: Mapping[Modality, str]) -> None:
        if set(folders) != set(MODALITIES):
            named = ", ".join(sorted(folders)) or "nothing"
            raise UserError(f"the feature folders name {named}; name exactly {', '.join(MODALITIES)}")
        self.root = root
        self.folders = dict(folders)

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
            return IndexRecord(**json.loads(path.read_text(encoding="utf-8")))
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
            array, fault = _opened(path)
            if array is None:
                raise UserError(f"{path}: {fault}; extract the video again")
            arrays[modality] = np.array(array, dtype=np.float32)
            if not np.isfinite(arrays[modality]).all():
                raise UserError(f"{path}: holds NaN or infinite numbers; extract the video again")
        fault = _disagreement(arrays)
        record = self.index(video_id)
        frames = record.frames if record else len(arrays["video"])
        if fault is None and frames > len(arrays["video"]):
            fault = f"the index tells {frames} frames, the files hold {len(arrays['video'])}"
        if fault:
            raise UserError(f"{video_id} in {self.root}: {fault}; extract the video again")
        tensors = {modality: torch.from_numpy(array) for modality, array in arrays.items()}
        return VideoFeatures(tensors["audio"], tensors["video"], tensors["patches"], frames)

    def check(self, video_ids: Iterable[str], dims: FeatureDims) -> None:
        """Checks that every video is there and of the right shape, reading no more than each file's header.

        Raises:
            UserError: files are missing, truncated, of another shape or dtype; the first few are named.
        """
        widths: dict[Modality, tuple[int, ...]] = {
            "audio": (dims.audio,),
            "video": (dims.video,),
            "patches": tuple(dims.patches),
        }
        faults: list[str] = []
        for video_id in tqdm(sorted(set(video_ids)), desc="checking features", unit="video", delay=2):
            arrays: dict[Modality, npt.NDArray[Any]] = {}
            for modality, width in widths.items():
                path = self.path(video_id, modality)
                array, fault = _opened(path)
                if array is not None:
                    arrays[modality] = array
                    if array.shape[1:] != width:
                        wanted = ", ".join(map(str, ("T", *width)))
                        fault = f"shape {list(array.shape)}, expected [{wanted}]"
                if fault:
                    faults.append(f"{path}: {fault}")
            fault = _disagreement(arrays)
            if fault:
                faults.append(f"{video_id}: {fault}")
        if faults:
            more = f"; and {len(faults) - _SHOWN_OFFENDERS} more" if len(faults) > _SHOWN_OFFENDERS else ""
            raise UserError(
                f"features in {self.root} cannot be used: {'; '.join(faults[:_SHOWN_OFFENDERS])}{more}; "
                "extract these videos again"
            )

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
                known = json.loads(memory.read_text(encoding="utf-8"))
        stamps = {video_id: self._stamps(video_id) for video_id in video_ids}
        changed = [video_id for video_id, stamp in stamps.items() if known.get(video_id) != stamp]
        for video_id in tqdm(changed, desc="reading features", unit="video", delay=2):
            self.load(video_id)
        if changed:
            write_json(memory, known | stamps)

    def _stamps(self, video_id: str) -> list[list[int]]:
        found = (self.path(video_id, modality).stat() for modality in MODALITIES)
        return [[stat.st_size, stat.st_mtime_ns] for stat in found]

    def _index_path(self, video_id: str) -> Path:
        return self.root / INDEX_FOLDER / f"{_plain(video_id)}.json"


def _plain(video_id: str) -> str:
    plain = PurePosixPath(video_id).name == video_id == PureWindowsPath(video_id).name
    if not plain or not video_id or video_id.startswith(".") or "\0" in video_id:
        raise UserError(f"video id {video_id!r} is no plain file name; ids may not name other folders")
    return video_id


def _opened(path: Path) -> tuple[npt.NDArray[Any] | None, str | None]:
    """The array, memory-mapped, or None and what is wrong with the file. Objects are never unpickled."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        return None, "missing"
    except (ValueError, EOFError, OSError) as error:
        return None, f"truncated or no array of numbers ({error})"
    if not np.issubdtype(array.dtype, np.floating):
        return None, f"dtype {array.dtype}, expected float16 or float32"
    if array.ndim == 0:
        return None, "shape [], expected one row a frame"
    return array, None


def _disagreement(arrays: Mapping[Modality, npt.NDArray[Any]]) -> str | None:
    lengths = {modality: len(array) for modality, array in arrays.items()}
    if len(set(lengths.values())) <= 1:
        return None
    return "different numbers of frames: " + ", ".join(f"{n} {modality}" for modality, n in lengths.items())
