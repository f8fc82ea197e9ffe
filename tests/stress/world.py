"""A tiny world for the commands: data, features, videos, a trained run; made once, copied for every try."""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from examples.avqa.locks import LOCK
from examples.avqa.media import read_frames
from tests.examples.after_kill import assert_whole_or_no_store, check_checkpoints, run_content
from tests.examples.killing import digests
from tests.examples.tiny_run import MODEL_OPTIONS, TinyData, write_data
from tests.examples.tiny_videos import write_video
from tests.stress.commands import Ended, command, unclean, warm

VIDEOS = 4


class World(NamedTuple):
    """Where everything is."""

    root: Path

    @property
    def data(self) -> TinyData:
        """Annotations and features."""
        return TinyData(self.root / "data")

    @property
    def videos(self) -> Path:
        """A folder of short videos."""
        return self.root / "videos"

    @property
    def run(self) -> Path:
        """A finished run."""
        return self.root / "run"

    def fit(self, out: Path, *others: str, epochs: int = 2) -> list[str]:
        """Trains on the tiny data: four batches an epoch, saved within each."""
        options = ["--trainer.max_epochs", str(epochs), "--trainer.accelerator", "cpu", "--trainer.checkpoint_steps"]
        batches = ["--data.clips_per_batch", "2", "--data.questions_per_clip", "2", "--data.eval_clips_per_batch", "2"]
        fit = ["fit", *self.data.options(), *MODEL_OPTIONS, *options, "1", *batches]
        return [*fit, "--optimizer.lr", "0.01", *others, "--out", str(out)]

    def pack(self, out: Path, *others: str) -> list[str]:
        """Packs its features."""
        return ["pack", "--features", str(self.data.root / "features"), "--out", str(out), *others]

    def extract_features(self, out: Path, *others: str, workers: int = 1) -> list[str]:
        """Extracts its videos."""
        return ["extract", "--videos", str(self.videos), "--out", str(out), "--workers", str(workers), *others]

    def concert(self, out: Path, workers: int = 1, seed: int = 1) -> list[str]:
        """Renders three short concerts."""
        sizes = ["--train", "1", "--val", "1", "--test", "1", "--duration", "30"]
        return ["concert", "--out", str(out), *sizes, "--workers", str(workers), "--seed", str(seed)]

    def test(self, out: Path, *others: str) -> list[str]:
        """Tests its run."""
        return ["test", "--run", str(self.run), "--out", str(out), *others]

    def check(self) -> list[str]:
        """Checks its data, every value."""
        return ["check", *self.data.options(), "--values", "true"]

    def copied(self, root: Path) -> World:
        """A copy; its run still names the first one's data."""
        shutil.copytree(self.root, root)
        return World(root)


class Task(NamedTuple):
    """A command that writes into one folder and goes on where it was stopped."""

    arguments: Callable[[World, Path], list[str]]
    content: Callable[[Path], Mapping[str, object]] = digests
    """What a finished folder holds, by name, to be compared."""
    check: Callable[[Path], None] = lambda out: None
    """Looks at a folder that was left unfinished; raises where it holds half a file."""


def fit_content(out: Path) -> Mapping[str, object]:
    """What a run holds, but for how many processes read its batches."""
    settings = json.loads((out / "settings.json").read_text(encoding="utf-8"))
    settings["data"].pop("workers")
    return {**run_content(out), "settings.json": settings}


TASKS: Mapping[str, Task] = {
    "fit": Task(lambda world, out: world.fit(out, "--if_finished", "skip"), fit_content, check_checkpoints),
    "pack": Task(lambda world, out: world.pack(out), check=assert_whole_or_no_store),
    "extract": Task(lambda world, out: world.extract_features(out), check=lambda out: arrays_are_whole(out)),
    "concert": Task(lambda world, out: world.concert(out), check=lambda out: concerts_are_whole(out)),
}


class Whole(NamedTuple):
    """What an uninterrupted run of a command does."""

    cpu_s: float
    content: Mapping[str, object]
    largest: int
    """Bytes of its largest file."""
    size: int
    """Bytes of all its files."""


@functools.cache
def uninterrupted(name: str) -> Whole:
    """One of `TASKS` from its start to its end."""
    world = shared_world()
    out = world.root.parent / f"whole-{name}"
    ended = must(TASKS[name].arguments(world, out), world.root / "log")
    sizes = [path.stat().st_size for path in out.rglob("*") if path.is_file()]
    return Whole(ended.cpu_s, TASKS[name].content(out), max(sizes), sum(sizes))


def rerun_fault(name: str, arguments: Sequence[str], out: Path, log: Path) -> str | None:
    """Gives a command again: how it ends otherwise than with what an uninterrupted run gives."""
    if fault := unclean(command(arguments, log), [0]):
        return fault
    content, wanted = TASKS[name].content(out), uninterrupted(name).content
    differing = sorted(key for key in content.keys() | wanted.keys() if content.get(key) != wanted.get(key))
    return f"the rerun differs in {', '.join(differing[:5])}" if differing else None


def aftermath(name: str, arguments: Sequence[str], out: Path, log: Path) -> str | None:
    """What is wrong after a command that could clean up: something left, or another result when it is given again."""
    if left := left_over(out):
        return f"left {left}"
    return rerun_fault(name, arguments, out, log)


def arrays_are_whole(out: Path) -> None:
    """Every array can be read, and an index stands beside complete features only."""
    for path in out.rglob("[!.]*.npy"):
        np.load(path, allow_pickle=False)
    for path in (out / "index").glob("[!.]*.json"):
        json.loads(path.read_text(encoding="utf-8"))
        there = [array for array in out.rglob("[!.]*.npy") if array.stem == path.stem]
        assert len(there) == 3, f"{path} without its features"


def concerts_are_whole(out: Path) -> None:
    """Every video can be read to its end, and every annotation file is JSON."""
    for path in out.glob("[!.]*.json"):
        json.loads(path.read_text(encoding="utf-8"))
    for path in out.rglob("[!.]*.mp4"):
        assert len(read_frames(path)) == 30, path


def left_over(out: Path) -> list[str]:
    """Temporary files and locks."""
    found = (path for path in out.rglob(".*") if ".tmp" in path.name or path.name == LOCK)
    return sorted(str(path.relative_to(out)) for path in found)


def remove(out: Path) -> None:
    """Removes a folder, whatever is in it."""
    shutil.rmtree(out, ignore_errors=True)


@functools.cache
def shared_world() -> World:
    """One for all attacks of a process, not to be changed."""
    folder = tempfile.TemporaryDirectory(prefix="stress-world-")
    atexit.register(folder.cleanup)
    # For those that are run as another user.
    Path(folder.name).chmod(0o755)
    return make_world(Path(folder.name).resolve() / "world")


def make_world(root: Path) -> World:
    """Makes one: its questions encoded, its run trained."""
    warm()
    world = World(root)
    write_data(world.data.root)
    world.videos.mkdir()
    for number in range(VIDEOS):
        write_video(world.videos / f"clip {number}.mp4", seconds=2 + number % 2, fps=Fraction(5), size=(64, 64))
    must(world.fit(world.run, epochs=1), root / "log")
    return world


def must(arguments: Sequence[str], log: Path) -> Ended:
    """Runs a command that has to succeed.

    Raises:
        AssertionError: it did not.
    """
    ended = command(arguments, log)
    assert ended.code == 0, f"{' '.join(arguments)} ended with {ended.code}: {ended.text[-2000:]}"
    return ended
