"""Short rendered concerts, sound only: players take turns, so that who plays when is known to the second.

Instruments, melodies, sound font and log-mel front end are those of `examples.avqa`; the scenes are simpler: two to
four players of eight instruments, one after the other. Nothing here is a recording.

N concerts, T seconds, F channels of a second's features.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from examples.avqa.concert.scene import Player, Scene, Split
from examples.avqa.concert.sound import PROGRAMS, render_sound
from examples.avqa.encoders.small_audio import AUDIO_DIM, SAMPLE_RATE, log_mel_statistics
from examples.avqa.errors import UserError
from examples.avqa.files import written_whole
from examples.avqa.processes import cores, each_done

from .command import positive

INSTRUMENTS = ("accordion", "banjo", "drum", "flute", "piano", "trumpet", "violin", "xylophone")
DURATION = 30.0
SPAN = (4.0, 7.0)
"""Seconds that one player plays."""
DATA_SEED = 713
SPLITS: tuple[Split, ...] = get_args(Split)


class Concerts(NamedTuple):
    """One split."""

    scenes: list[Scene]
    frames: Tensor
    """[N, T, F] float32, log-mel mean and deviation of each second, standardised by the training split."""

    @property
    def times(self) -> Tensor:
        """[T], the middle of each second."""
        return torch.arange(self.frames.shape[1]) + 0.5


def sample_scene(number: int, index: int) -> Scene:
    """Concert `index` of split `number`; it depends on these two alone."""
    split, rng = SPLITS[number], np.random.default_rng([DATA_SEED, number, index])
    count = int(rng.integers(2, 5))
    spans = rng.uniform(*SPAN, count)
    # The silence before, between and after the players.
    gaps = rng.dirichlet(np.ones(count + 1)) * (DURATION - spans.sum())
    onsets = np.cumsum(gaps[:-1]) + np.cumsum(spans) - spans
    players = tuple(
        Player(
            instrument=str(name),
            seat=None,
            segments=((float(onset), float(onset + span)),),
            loud=bool(rng.random() < 0.5),
            fast=bool(rng.random() < 0.5),
            program=int(rng.integers(len(PROGRAMS[name]))),
            drawing=0,
            size=0.0,
            tilt=0.0,
            seed=int(rng.integers(2**31)),
        )
        for name, onset, span in zip(rng.permutation(INSTRUMENTS)[:count], onsets, spans, strict=True)
    )
    return Scene(f"{split}_{index:05d}", split, DURATION, players, "indoor", None, int(rng.integers(2**31)))


def frame_features(scene: Scene) -> npt.NDArray[np.float16]:
    """The concert's sound as features [T, F]; half precision is ample beside their spread."""
    torch.set_num_threads(1)
    sound = torch.from_numpy(render_sound(scene, SAMPLE_RATE).mean(0))
    return log_mel_statistics(sound.view(-1, SAMPLE_RATE)).half().numpy()


def add_concerts(command: argparse.ArgumentParser, train: int = 500, test: int = 200) -> None:
    """The arguments that say how many concerts there are, and where their features lie."""
    command.add_argument(
        "--cache",
        type=Path,
        default=Path("data/dropins"),
        metavar="DIR",
        help="folder of the concerts' features, rendered once and then read again (data/dropins)",
    )
    for name, count in (("concerts", train), ("test-concerts", test)):
        command.add_argument(f"--{name}", type=positive, default=count, metavar="N", help=f"how many ({count})")
    command.add_argument("--workers", type=positive, metavar="N", help="processes that render; by default one a core")


def load_concerts(folder: Path, counts: Mapping[str, int], workers: int | None = None) -> dict[str, Concerts]:
    """The splits that are named, rendered where `folder` does not hold them yet; "train" is one of them.

    Args:
        folder: of the cache, one file a split.
        counts: split -> concerts.
        workers: processes; by default one a core.

    Raises:
        UserError: a file in the folder is none of ours.
    """
    scenes = {
        split: [sample_scene(SPLITS.index(split), index) for index in range(count)] for split, count in counts.items()
    }
    frames = {split: _features(folder / f"concerts_{split}.npy", scenes[split], workers) for split in counts}
    mean, std = frames["train"].mean((0, 1)), frames["train"].std((0, 1))
    return {split: Concerts(scenes[split], (frames[split] - mean) / (std + 1e-3)) for split in counts}


def _features(path: Path, scenes: list[Scene], workers: int | None) -> Tensor:
    """[N, T, F]; a file with more concerts serves, one with fewer is rendered again."""
    shape = (round(DURATION), AUDIO_DIM)
    if path.exists():
        try:
            kept = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise UserError(f"{path} cannot be read ({error}); delete it") from error
        if not isinstance(kept, np.ndarray):
            raise UserError(f"{path} is an archive, and no array; delete it")
        if kept.shape[1:] != shape:
            raise UserError(f"{path} holds {kept.shape}, expected [N, {shape[0]}, {shape[1]}]; delete it")
        if len(kept) >= len(scenes):
            return torch.from_numpy(kept[: len(scenes)]).float()
    features = np.zeros((len(scenes), *shape), np.float16)
    work = each_done(frame_features, [(scene,) for scene in scenes], workers or cores())
    for place, result in tqdm(work, total=len(scenes), desc=f"rendering {path.stem}", unit="concert"):
        features[place] = result
    with written_whole(path) as temporary:
        np.save(temporary, features, allow_pickle=False)
    return torch.from_numpy(features).float()
