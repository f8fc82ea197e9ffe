"""The `extract` command: videos to features, by many processes and machines, resumable."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from .clips import Length, encode_clip
from .encoders import Encoders, Modality, load_encoders
from .errors import UserError
from .features import FeatureFolder, IndexRecord
from .first_few import first_few
from .media import probe
from .processes import cores, each_done
from .shard import Shard, find_shard

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v")
# One decodes while another computes; each holds its own weights in the GPU's memory.
_WORKERS_PER_GPU = 4
_TOLD_S = 5.0
"""How often is said how many frames were read."""


class _Recipe(NamedTuple):
    """What features depend on, beside their video: a folder holds features of one recipe."""

    preset: str
    weights: Path | None
    weights_id: str
    length: Length

    def differs(self, record: IndexRecord) -> str | None:
        """How features in a folder were made otherwise, in words."""
        if record.encoder != self.preset:
            return f"by preset {record.encoder}, not {self.preset}"
        if record.weights != self.weights_id:
            return "by other weights"
        for name, value in self.length._asdict().items():
            if getattr(record, name) != value:
                return f"with {name} {getattr(record, name)}, not {value}"
        return None


def extract(
    videos: Path,
    out: Path,
    preset: str = "small",
    weights: Path | None = None,
    seconds: int | None = None,
    keep_long: bool = False,
    workers: int | None = None,
    shard: str | None = None,
    skip_broken: bool = False,
) -> None:
    """Encodes videos into a feature folder; a rerun skips what is done.

    Several machines may fill one folder: give each its shard, or start the command by torchrun or srun, which tell
    each process its own. Where there are GPUs, workers of preset paper take them in turn.

    The weights of preset paper come from the hub, or from a folder that holds
      clip/    config.json, model.safetensors or pytorch_model.bin, tokenizer.json or vocab.json with merges.txt,
               of huggingface.co/openai/clip-vit-large-patch14-336
      vit/     model.safetensors of huggingface.co/timm/vit_large_patch16_384.augreg_in21k_ft_in1k
      vggish/  vggish-10086976.pth of github.com/harritaylor/torchvggish, release v0.1

    Args:
        videos: a folder of videos, whose file names are the video ids, or one video file.
        out: the feature folder.
        preset: the encoders: small, or paper for QA-TIGER's and TSPM's.
        weights: folder of the weights of preset paper; by default the hub's.
        seconds: how many seconds of a clip are encoded: longer clips are cut, shorter ones padded by repeating their
            last second's features, and the index says how many are real. By default 60 for preset paper; preset small
            takes clips as they are.
        keep_long: keep clips whole that are longer than `seconds`.
        workers: processes; by default one a core, and with preset paper at most 4 a GPU, each with 3 GB of weights.
        shard: I/N, the part I of N of the videos, counted from 0; by default what torchrun or SLURM says, else all.
        skip_broken: leave out files that cannot be read, and list them at the end, instead of stopping.

    Raises:
        UserError: a video cannot be read (without `skip_broken`), none can, two have the same id, weights are missing,
            or `out` holds features that were made otherwise.
    """
    if workers is not None and workers < 1:
        raise UserError(f"workers is {workers}; give at least 1")
    if seconds is not None and seconds < 1:
        raise UserError(f"seconds is {seconds}; give at least 1")
    part = find_shard(shard, os.environ)
    encoders = load_encoders(preset, weights)
    length = Length(encoders.seconds if seconds is None else seconds, keep_long)
    if keep_long and length.seconds is None:
        raise UserError(f"keep_long: preset {preset} takes clips as they are; leave it out, or give seconds")
    if out.is_file():
        raise UserError(f"{out} is a file; name a folder for the features")
    every = _videos(videos)
    paths = {video_id: every[video_id] for video_id in part.of(list(every))}
    if part.size > 1:
        print(f"shard {part.rank}/{part.size} by {part.source}: {len(paths)} of {len(every)} videos", file=sys.stderr)
    recipe = _Recipe(preset, weights, encoders.weights_id("clips"), length)
    folder = FeatureFolder(out, encoders.folders)
    folder.sweep()
    _check_recipe(folder, folder.some_record(), recipe)
    pending = {video_id: path for video_id, path in paths.items() if not _done(folder, video_id, path, recipe)}
    broken = _probe_all(pending, length, skip_broken)
    jobs = [(pending[video_id], folder) for video_id in pending if video_id not in broken]
    devices = _devices() if encoders.on_gpu else ["cpu"]
    wanted = min(workers or _usual_workers(part, devices), len(jobs))
    frames = get_context("spawn").Value("q", 0)
    run = _Run(recipe, part, devices, frames)
    outcomes = _run_here(jobs, run) if wanted <= 1 else _run_all(jobs, run, wanted)
    with (
        tqdm(total=len(paths), initial=len(paths) - len(pending), desc="extracting", unit="video") as bar,
        _frames_told(bar, frames),
    ):
        bar.update(len(broken))
        for path, fault in outcomes:
            bar.update()
            if fault is None:
                continue
            if not skip_broken:
                raise UserError(f"{fault}; finished videos are kept, skip_broken leaves such files out")
            broken[path.stem] = fault
    # Workers of a run that was killed may have lived on for a moment when this one began.
    folder.sweep()
    if broken and len(broken) == len(paths):
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


def _done(folder: FeatureFolder, video_id: str, path: Path, recipe: _Recipe) -> bool:
    record = folder.index(video_id)
    _check_recipe(folder, record, recipe)
    return folder.complete(video_id) is not None and record is not None and record.source_bytes == path.stat().st_size


def _check_recipe(folder: FeatureFolder, record: IndexRecord | None, recipe: _Recipe) -> None:
    difference = recipe.differs(record) if record else None
    if record and difference:
        raise UserError(f"{folder.root} holds features of {record.video_id} {difference}; name another folder")


def _probe_all(paths: dict[str, Path], length: Length, skip_broken: bool) -> dict[str, str]:
    """Reads every header, so that most faults are told before hours of work; returns the faults by video id."""
    faults: dict[str, str] = {}
    silent: list[str] = []
    for video_id, path in tqdm(paths.items(), desc="probing", unit="video", delay=2):
        try:
            info = probe(path)
            length.of(path, info.duration)
            if not info.has_audio:
                silent.append(video_id)
        except UserError as error:
            faults[video_id] = str(error)
    if faults and not skip_broken:
        raise UserError(f"{'; '.join(first_few(list(faults.values())))}; skip_broken leaves such files out")
    if silent:
        warnings.warn(f"no sound, so silence is encoded: {'; '.join(first_few(silent))}", stacklevel=3)
    return faults


def _devices() -> list[str]:
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cpu"]


def _usual_workers(part: Shard, devices: list[str]) -> int:
    """One a core of this process's share of the machine, not too many a GPU."""
    most = cores() if devices == ["cpu"] else min(cores(), _WORKERS_PER_GPU * len(devices))
    return max(most // part.local_size, 1)


Job = tuple[Path, FeatureFolder]
# A job's path, and what is wrong with the file or None.
Outcome = tuple[Path, str | None]


class _Run(NamedTuple):
    """What all processes of a run share."""

    recipe: _Recipe
    part: Shard
    devices: list[str]
    frames: Synchronized[int]
    """How many were read."""

    def encoders(self, worker: int) -> Encoders:
        """Those of one worker, on its device."""
        device = self.devices[(self.part.local_rank + worker * self.part.local_size) % len(self.devices)]
        return load_encoders(self.recipe.preset, self.recipe.weights, device)


def _run_here(jobs: list[Job], run: _Run) -> Iterator[Outcome]:
    with _one_thread():
        encoders = run.encoders(0)
        for path, folder in jobs:
            yield path, _extract_one(path, folder, encoders, run)


@contextmanager
def _one_thread() -> Iterator[None]:
    """As in the processes: with other numbers of threads sums are rounded otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _run_all(jobs: list[Job], run: _Run, workers: int) -> Iterator[Outcome]:
    started = get_context("spawn").Value("i", 0)
    for place, fault in each_done(_work, list(jobs), workers, _start_worker, (run, started)):
        yield jobs[place][0], fault


@contextmanager
def _frames_told(bar: tqdm[Any], frames: Synchronized[int]) -> Iterator[None]:
    """Says every few seconds how many frames were read: a video of hours takes long."""
    done = threading.Event()

    def tell() -> None:
        while not done.wait(_TOLD_S):
            bar.set_postfix_str(f"{frames.value:,} frames")

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


_worker: tuple[Encoders, _Run] | None = None


def _start_worker(run: _Run, started: Synchronized[int]) -> None:
    global _worker
    torch.set_num_threads(1)
    with started.get_lock():
        number = started.value
        started.value += 1
    _worker = run.encoders(number), run


def _work(path: Path, folder: FeatureFolder) -> str | None:
    assert _worker is not None
    return _extract_one(path, folder, *_worker)


def _extract_one(path: Path, folder: FeatureFolder, encoders: Encoders, run: _Run) -> str | None:
    """Encodes and writes one video; returns what is wrong with the file, or None."""

    def on_frame(number: int, count: int) -> None:
        with run.frames.get_lock():
            run.frames.value += 1

    recipe = run.recipe
    try:
        clip = encode_clip(path, encoders, recipe.length, on_frame)
    except UserError as error:
        return str(error)
    features: dict[Modality, Tensor] = {"audio": clip.audio, "video": clip.video, "patches": clip.patches}
    # Another process may have begun at the same moment, with other options.
    _check_recipe(folder, folder.some_record(), recipe)
    record = IndexRecord(
        video_id=path.stem,
        encoder=recipe.preset,
        frames=clip.frames,
        duration=clip.duration,
        silent=clip.silent,
        source_bytes=path.stat().st_size,
        shapes={modality: list(tensor.shape) for modality, tensor in features.items()},
        weights=recipe.weights_id,
        seconds=recipe.length.seconds,
        keep_long=recipe.length.keep_long,
    )
    folder.save(features, record)
    return None
