"""The `pack` command: a feature folder as one file that is mapped into memory, in half precision."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from .encoders import Encoders, Modality, load_encoders
from .encoders.base import MODALITIES
from .errors import UserError
from .feature_faults import clip_faults, refuse, widths
from .features import FeatureFolder, VideoFeatures, renamed
from .files import sweep_temporaries
from .locks import LOCK, forget_killed, only_here
from .pack_journal import Entry, Journal, Stamps
from .store import is_store
from .store_index import DATA, INDEX, JOURNAL, Layout, StoredClip, StoredModality, StoreIndex

# Whitening enlarges small differences of the log-mel statistics, which are a twentieth of a clip.
_SINGLE_PRECISION: set[tuple[str, Modality]] = {("small", "audio")}
_SKIP = "skip_broken leaves such videos out"


class _Survey(NamedTuple):
    """What the headers tell."""

    stamps: dict[str, Stamps]
    """Every clip to pack, in order, with its sources' sizes and times."""
    size: int
    """Bytes they take."""
    left_out: dict[str, str]


def pack(
    features: Path,
    out: Path,
    encoder: str = "small",
    weights: Path | None = None,
    folders: dict[str, str] | None = None,
    frames: int | None = None,
    skip_broken: bool = False,
) -> None:
    """Turn a feature folder into one memory-mapped file in half precision: fast to read, half the size of float32.

    Give the store as data.features. The same command again goes on where it was stopped; bytes do not depend on it.

    Args:
        features: a feature folder, of `extract` or of others.
        out: the store, a folder.
        encoder: preset that the features were made with.
        weights: for encoder paper, a folder of weights whose features are of other widths than the published ones.
        folders: names of the modalities' folders where they differ from the preset's, as in --folders.audio vggish
            --folders.video frame_ViT-L14@336px --folders.patches visual_tome14.
        frames: keep at most so many frames of a video, the first ones; by default all.
        skip_broken: leave out videos with a file that is missing, broken or of another shape, and list them at the
            end, instead of stopping.

    Raises:
        UserError: a video is broken (without `skip_broken`), none can be packed, the disk is too full, or `out` holds
            something else.
    """
    encoders = load_encoders(encoder, weights)
    if not features.is_dir() or is_store(features):
        raise UserError(f"features: {features} is no feature folder; make one with: python -m examples.avqa extract")
    if out.exists() and not out.is_dir():
        raise UserError(f"out: {out} is a file; name a folder for the store")
    source = FeatureFolder(features, renamed(encoders.folders, folders or {}), frames)
    layout = _layout(encoders)
    settings = {"encoder": encoder, "folders": source.folders, "frames": frames}
    survey = _survey(source, encoders, layout, skip_broken)
    index = _finished(out, settings, survey)
    if index is None:
        with only_here(out, "packs into"):
            # Another process may have packed there until this moment.
            index = _finished(out, settings, survey) or _packed(out, source, layout, settings, survey, skip_broken)
    else:
        forget_killed(out)
    left_out = index.left_out
    print(f"{out}: {len(index.clips)} videos, {index.bytes / 1e9:.2f} GB")
    if left_out:
        print(f"left out {len(left_out)} videos:", *left_out.values(), sep="\n  ", file=sys.stderr)


def _layout(encoders: Encoders) -> Layout:
    return Layout(
        {
            modality: StoredModality("float32" if (encoders.name, modality) in _SINGLE_PRECISION else "float16", width)
            for modality, width in widths(encoders.dims).items()
        }
    )


def _survey(source: FeatureFolder, encoders: Encoders, layout: Layout, skip_broken: bool) -> _Survey:
    """Reads every header, so that most faults are told before anything is written."""
    stamps: dict[str, Stamps] = {}
    size, faults = 0, []
    for video_id in tqdm(_video_ids(source), desc="reading headers", unit="video", delay=2):
        headers = source.headers(video_id)
        wrong = clip_faults(video_id, headers, encoders.dims)
        if wrong:
            faults += wrong
            continue
        stamps[video_id] = source.stamps(video_id) + ([] if headers.real is None else [[headers.real]])
        shape = headers.modalities["video"].shape
        assert shape is not None, "a header without a fault has a shape"
        size += layout.size(shape[0])
    if not skip_broken:
        refuse(faults, source.root, f"extract these videos again; {_SKIP}")
    if not stamps:
        refuse(faults, source.root, "no video can be packed")
        names = ", ".join(source.folders.values())
        raise UserError(f"features: no videos in {source.root}; looked for {names} with files <video_id>.npy")
    left_out = {fault.video_id: fault.message for fault in reversed(faults)}
    return _Survey(stamps, size, dict(sorted(left_out.items())))


def _video_ids(source: FeatureFolder) -> list[str]:
    """The videos with a file of any modality: one that lacks another is a fault."""
    found = (path for name in source.folders.values() for path in (source.root / name).glob("*.npy"))
    # A leading dot marks what is still being written.
    return sorted({path.stem for path in found if not path.name.startswith(".")})


def _digest(survey: _Survey) -> str:
    return hashlib.sha256(json.dumps(survey.stamps).encode()).hexdigest()


def _finished(out: Path, settings: Mapping[str, Any], survey: _Survey) -> StoreIndex | None:
    """The index of a store that is there already, if it is the one that was asked for; None where there is none."""
    if not (out / INDEX).exists():
        return None
    index = StoreIndex.read(out)
    if index.settings != settings:
        raise UserError(
            f"out: {out} holds a store with other settings ({json.dumps(index.settings)}); name another folder"
        )
    if index.sources != _digest(survey):
        raise UserError(f"out: {out} was packed before the features changed; delete it, or name another folder")
    if (out / DATA).stat().st_size != index.bytes:
        raise UserError(f"out: {out / DATA} is not {index.bytes} bytes long, as it was packed; delete {out}")
    # Killed between its last two steps.
    Journal(out, settings).remove()
    return index


def _packed(
    out: Path,
    source: FeatureFolder,
    layout: Layout,
    settings: Mapping[str, Any],
    survey: _Survey,
    skip_broken: bool,
) -> StoreIndex:
    if out.exists() and not is_store(out) and any(path.name != LOCK for path in out.iterdir()):
        raise UserError(f"out: {out} is not empty and holds no store; name another folder")
    if links := [name for name in (DATA, JOURNAL) if (out / name).is_symlink()]:
        # They would be written through, wherever they lead.
        raise UserError(f"out: {out / links[0]} is a link; delete {out}, or name another folder")
    journal = Journal(out, settings)
    entries = journal.verified(survey.stamps, layout)
    faults = [entry.fault for entry in entries if entry.clip is None]
    if faults and not skip_broken:
        raise UserError(f"{faults[0]}; {_SKIP}")
    _check_disk(out, survey.size)
    journal.restart(entries)
    sweep_temporaries(out)
    end = sum(layout.size(entry.clip.frames) for entry in entries if entry.clip is not None)
    pending = list(survey.stamps)[len(entries) :]
    # Never shortened before the end: what another process wrote after `end` is what is written here.
    descriptor = os.open(out / DATA, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        with tqdm(total=len(survey.stamps), initial=len(entries), desc="packing", unit="video") as bar:
            for video_id in pending:
                try:
                    clip, data = _clip(source, layout, video_id, end)
                except UserError as error:
                    if not skip_broken:
                        raise UserError(f"{error}; {_SKIP}") from None
                    entries.append(Entry(video_id, survey.stamps[video_id], None, str(error)))
                else:
                    _write(file.fileno(), data, end)
                    entries.append(Entry(video_id, survey.stamps[video_id], clip))
                    end += len(data)
                journal.append(entries[-1])
                bar.update()
        file.truncate(end)
        # The index may reach the disk only after the bytes it speaks of.
        os.fsync(file.fileno())
    clips = {entry.video_id: entry.clip for entry in entries if entry.clip is not None}
    left_out = survey.left_out | {entry.video_id: entry.fault for entry in entries if entry.clip is None}
    if not clips:
        raise UserError(f"no video in {source.root} can be packed: {next(iter(left_out.values()))}")
    index = StoreIndex(settings, layout, clips, dict(sorted(left_out.items())), _digest(survey))
    index.write(out)
    journal.remove()
    return index


def _check_disk(out: Path, size: int) -> None:
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    # What was packed before is used again.
    packed = (out / DATA).stat().st_size if (out / DATA).exists() else 0
    free = shutil.disk_usage(there).free + packed
    if free < size:
        raise UserError(f"out: the store takes {size / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free at {there}")


def _clip(source: FeatureFolder, layout: Layout, video_id: str, offset: int) -> tuple[StoredClip, bytearray]:
    features = source.load(video_id)
    frames = len(features.video)
    data = bytearray(layout.size(frames))
    for modality, array in layout.arrays(data, frames).items():
        array[...] = _narrowed(source, features, video_id, modality, array.dtype)
    return StoredClip(offset, frames, features.frames, zlib.crc32(data)), data


def _narrowed(
    source: FeatureFolder, features: VideoFeatures, video_id: str, modality: Modality, dtype: Any
) -> np.typing.NDArray[Any]:
    whole = features[MODALITIES.index(modality)]
    assert not isinstance(whole, int), "the modalities come first"
    with np.errstate(over="ignore"):
        narrow = whole.numpy().astype(dtype)
    # What was loaded is finite.
    if not np.isfinite(narrow).all():
        path, largest = source.path(video_id, modality), float(whole.abs().max())
        raise UserError(
            f"{path}: holds {largest:.6g}, and half precision ends at 65504; are these features of this encoder?"
        )
    return narrow


def _write(descriptor: int, data: bytearray, offset: int) -> None:
    view = memoryview(data)
    os.lseek(descriptor, offset, os.SEEK_SET)
    while view:
        view = view[os.write(descriptor, view) :]
