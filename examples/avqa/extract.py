"""The `extract` command: videos to features, one process a core, resumable."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from .encoders import Encoders, Modality, load_encoders
from .errors import UserError
from .features import FeatureFolder, IndexRecord
from .media import probe, read_audio, read_frames
from .processes import cores, each_done

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v")
_SHOWN = 5


class ClipFeatures(NamedTuple):
    """The features of one video file, float32."""

    audio: Tensor  # [T, Da]
    video: Tensor  # [T, Dv]
    patches: Tensor  # [T, N, Dp]
    duration: float
    """In seconds."""
    silent: bool
    """Whether the file has no sound; `audio` is then that of silence."""


def encode_clip(path: Path, encoders: Encoders) -> ClipFeatures:
    """Encodes one video file, one frame a second.

    Raises:
        UserError: the file is missing, damaged or no video.
    """
    duration = probe(path).duration
    frames = read_frames(path, size=encoders.frame_size)
    waveform = read_audio(path, seconds=len(frames))
    silent = waveform is None
    if waveform is None:
        waveform = np.zeros((len(frames), 16000), dtype=np.float32)
    video, patches = encoders.encode_video(frames)
    return ClipFeatures(encoders.encode_audio(waveform), video, patches, duration, silent)


def extract(
    videos: Path, out: Path, preset: str = "small", workers: int | None = None, skip_broken: bool = False
) -> None:
    """Encodes videos into a feature folder; a rerun skips what is done.

    Args:
        videos: a folder of videos, whose file names are the video ids, or one video file.
        out: the feature folder.
        preset: the encoders.
        workers: processes; by default one a core.
        skip_broken: leave out files that cannot be read, and list them at the end, instead of stopping.

    Raises:
        UserError: a video cannot be read (without `skip_broken`), none can, two have the same id, or `out` holds
            features of another preset.
    """
    if workers is not None and workers < 1:
        raise UserError(f"workers is {workers}; give at least 1")
    encoders = load_encoders(preset)
    if out.is_file():
        raise UserError(f"{out} is a file; name a folder for the features")
    paths = _videos(videos)
    folder = FeatureFolder(out, encoders.folders)
    pending = {video_id: path for video_id, path in paths.items() if not _done(folder, video_id, path, preset)}
    broken = _probe_all(pending, skip_broken)
    jobs = [(pending[video_id], folder) for video_id in pending if video_id not in broken]
    wanted = min(workers or cores(), len(jobs))
    outcomes = _run_here(jobs, preset) if wanted <= 1 else _run_in_processes(jobs, preset, wanted)
    with tqdm(total=len(paths), initial=len(paths) - len(pending), desc="extracting", unit="video") as bar:
        bar.update(len(broken))
        for path, fault in outcomes:
            bar.update()
            if fault is None:
                continue
            if not skip_broken:
                raise UserError(f"{fault}; finished videos are kept, skip_broken leaves such files out")
            broken[path.stem] = fault
    if len(broken) == len(paths):
        raise UserError(f"no video in {videos} can be read: {next(iter(broken.values()))}")
    if broken:
        print(f"left out {len(broken)} of {len(paths)} videos:", *broken.values(), sep="\n  ", file=sys.stderr)


def _videos(source: Path) -> dict[str, Path]:
    """Each video's path by its id."""
    if source.is_file():
        return {source.stem: source}
    if not source.is_dir():
        raise UserError(f"no such file or folder of videos: {source}")
    # A leading dot marks what other programs are still writing, and macOS's resource forks.
    files = sorted(p for p in source.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES and not p.name.startswith("."))
    if not files:
        raise UserError(f"no videos in {source}; their names end in {', '.join(VIDEO_SUFFIXES)}")
    paths: dict[str, Path] = {}
    for path in files:
        if path.stem in paths:
            raise UserError(f"{path} and {paths[path.stem].name} have the same video id, {path.stem}; rename one")
        paths[path.stem] = path
    return paths


def _done(folder: FeatureFolder, video_id: str, path: Path, preset: str) -> bool:
    record = folder.index(video_id)
    if record is not None and record.encoder != preset:
        raise UserError(
            f"{folder.root} holds features of {video_id} by preset {record.encoder}, not {preset}; name another folder"
        )
    return folder.complete(video_id) is not None and record is not None and record.source_bytes == path.stat().st_size


def _probe_all(paths: dict[str, Path], skip_broken: bool) -> dict[str, str]:
    """Reads every header, so that most faults are told before hours of work; returns the faults by video id."""
    faults: dict[str, str] = {}
    silent: list[str] = []
    for video_id, path in tqdm(paths.items(), desc="probing", unit="video", delay=2):
        try:
            if not probe(path).has_audio:
                silent.append(video_id)
        except UserError as error:
            faults[video_id] = str(error)
    if faults and not skip_broken:
        raise UserError(f"{_some(list(faults.values()))}; skip_broken leaves such files out")
    if silent:
        warnings.warn(f"no sound, so silence is encoded: {_some(silent)}", stacklevel=3)
    return faults


def _some(texts: list[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return "; ".join(texts[:_SHOWN]) + more


Job = tuple[Path, FeatureFolder]
# A job's path, and what is wrong with the file or None.
Outcome = tuple[Path, str | None]


def _run_here(jobs: list[Job], preset: str) -> Iterator[Outcome]:
    with _one_thread():
        encoders = load_encoders(preset)
        for path, folder in jobs:
            yield path, _extract_one(path, folder, encoders)


@contextmanager
def _one_thread() -> Iterator[None]:
    """As in the processes: with other numbers of threads sums are rounded otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _run_in_processes(jobs: list[Job], preset: str, workers: int) -> Iterator[Outcome]:
    for place, fault in each_done(_work, list(jobs), workers, _start_worker, (preset,)):
        yield jobs[place][0], fault


_encoders: Encoders | None = None


def _start_worker(preset: str) -> None:
    global _encoders
    torch.set_num_threads(1)
    _encoders = load_encoders(preset)


def _work(path: Path, folder: FeatureFolder) -> str | None:
    assert _encoders is not None
    return _extract_one(path, folder, _encoders)


def _extract_one(path: Path, folder: FeatureFolder, encoders: Encoders) -> str | None:
    """Encodes and writes one video; returns what is wrong with the file, or None."""
    try:
        clip = encode_clip(path, encoders)
    except UserError as error:
        return str(error)
    features: dict[Modality, Tensor] = {"audio": clip.audio, "video": clip.video, "patches": clip.patches}
    record = IndexRecord(
        video_id=path.stem,
        encoder=encoders.name,
        frames=len(clip.video),
        duration=clip.duration,
        silent=clip.silent,
        source_bytes=path.stat().st_size,
        shapes={modality: list(tensor.shape) for modality, tensor in features.items()},
    )
    folder.save(features, record)
    return None
