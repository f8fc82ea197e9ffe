"""Draws the scenes. A scene depends on (seed, split, index) alone, so concerts can be made in any order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from examples.avqa.concert.scene import INSTRUMENTS, Place, Player, Scene, Split
from examples.avqa.concert.settings import SEATS, SIZES, ConcertSettings, Range

SPLITS: tuple[Split, ...] = ("train", "val", "test")
Segments = tuple[tuple[float, float], ...]


def sample_scenes(
    settings: ConcertSettings, split: Split, *, programs_per_instrument: Mapping[str, int], drawings: int
) -> list[Scene]:
    """All scenes of one split, in order; arguments as in `sample_scene`."""
    return [
        sample_scene(settings, split, index, programs_per_instrument=programs_per_instrument, drawings=drawings)
        for index in range(settings.count(split))
    ]


def sample_scene(
    settings: ConcertSettings,
    split: Split,
    index: int,
    *,
    programs_per_instrument: Mapping[str, int],
    drawings: int,
) -> Scene:
    """Draws concert number `index` of `split`.

    Args:
        programs_per_instrument: how many sound-font programs each instrument has.
        drawings: how many drawings each instrument has.

    The last of several programs and the last of several drawings occur in the test split only.
    """
    rng = np.random.default_rng([settings.seed, SPLITS.index(split), index])
    return _draw(rng, settings, split, f"{split}_{index:05d}", programs_per_instrument, drawings)


def calibration_scenes(settings: ConcertSettings, count: int) -> list[Scene]:
    """Scenes like those of the data set, but none of them: to measure what can be asked how often."""
    one = dict.fromkeys(INSTRUMENTS, 1)
    stream = len(SPLITS)
    return [
        _draw(np.random.default_rng([settings.seed, stream, index]), settings, "train", f"{index}", one, 1)
        for index in range(count)
    ]


def _draw(
    rng: np.random.Generator,
    settings: ConcertSettings,
    split: Split,
    video_id: str,
    programs: Mapping[str, int],
    drawings: int,
) -> Scene:
    num_seen = int(rng.choice(len(settings.seen_shares), p=settings.seen_shares)) + 1
    instruments = _instruments(rng, settings, num_seen)
    seats: list[float | None] = [
        seat + rng.uniform(-settings.seat_jitter, settings.seat_jitter) for seat in SEATS[num_seen]
    ]
    heard = [bool(rng.random() >= settings.silent) for _ in range(num_seen)]
    if rng.random() < settings.unseen:
        instruments.append(str(rng.choice([name for name in INSTRUMENTS if name not in instruments])))
        seats.append(None)
        heard.append(True)
    if not any(heard):
        heard[int(rng.integers(num_seen))] = True
    segments = _timing(rng, settings, heard)
    # All players of one instrument share its program.
    program = {name: _variant(rng, settings, split, programs[name]) for name in INSTRUMENTS if name in instruments}
    players = tuple(
        Player(
            instrument=instrument,
            seat=seat,
            segments=segment,
            loud=bool(rng.random() < settings.loud),
            fast=bool(rng.random() < settings.fast),
            program=program[instrument],
            drawing=_variant(rng, settings, split, drawings),
            size=rng.uniform(*SIZES[num_seen]),
            tilt=rng.uniform(-settings.tilt, settings.tilt),
            seed=int(rng.integers(2**31)),
        )
        for instrument, seat, segment in zip(instruments, seats, segments, strict=True)
    )
    place: Place = "indoor" if rng.random() < settings.indoor else "outdoor"
    voiceover = None
    if rng.random() < settings.voiceover:
        length = rng.uniform(*settings.voiceover_length)
        start = rng.uniform(0, settings.duration - length)
        voiceover = (start, start + length)
    return Scene(
        video_id=video_id,
        split=split,
        duration=settings.duration,
        players=players,
        place=place,
        voiceover=voiceover,
        seed=int(rng.integers(2**31)),
    )


def _instruments(rng: np.random.Generator, settings: ConcertSettings, num_seen: int) -> list[str]:
    names = [str(name) for name in rng.permutation(INSTRUMENTS)[:num_seen]]
    if num_seen >= 2 and rng.random() < settings.same_instrument:
        alike = 3 if num_seen >= 3 and rng.random() < settings.three_alike else 2
        names[1:alike] = names[:1] * (alike - 1)
    return [names[i] for i in rng.permutation(num_seen)]


def _variant(rng: np.random.Generator, settings: ConcertSettings, split: Split, count: int) -> int:
    """An index below `count`; the last one is held out for the test split."""
    # Both numbers are drawn always, so that the counts never change the rest of the scene.
    hold_out, choice = rng.random(2)
    if count == 1:
        return 0
    if split == "test" and hold_out < settings.held_out:
        return count - 1
    return int(choice * (count - 1))


def _timing(rng: np.random.Generator, settings: ConcertSettings, heard: Sequence[bool]) -> list[Segments]:
    """When each player sounds."""
    segments: list[Segments] = [() for _ in heard]
    # In random order, so that neither the order of onsets nor the always playing one depends on the seat.
    waiting = [int(i) for i in rng.permutation(np.flatnonzero(heard))]
    if rng.random() < settings.always:
        segments[waiting.pop()] = ((0.0, settings.duration),)
    if len(waiting) >= 2 and rng.random() < settings.together:
        onsets = rng.uniform(*settings.together_onset) + rng.uniform(0, settings.together_spread, len(waiting))
    else:
        onsets = _staggered(rng, settings, len(waiting))
    for player, onset in zip(waiting, onsets, strict=True):
        segments[player] = _segments(rng, settings, float(onset))
    return segments


def _staggered(rng: np.random.Generator, settings: ConcertSettings, count: int) -> npt.NDArray[np.float64]:
    """Ascending onsets, each at least `onset_gap` after the one before."""
    if count == 0:
        return np.zeros(0)
    gap = settings.onset_gap
    first = rng.uniform(*settings.first_onset)
    # Drawn as if the gaps had no width, then moved apart by them.
    later = np.sort(rng.uniform(first + gap, settings.last_onset - gap * max(count - 2, 0), count - 1))
    return np.concatenate([[first], later + gap * np.arange(count - 1)])


def _segments(rng: np.random.Generator, settings: ConcertSettings, onset: float) -> Segments:
    span = rng.uniform(*settings.span)
    if rng.random() >= settings.pause:
        return ((onset, onset + span),)
    pause = rng.uniform(*_within(settings.pause_length, span / 2))
    # A quarter of the music at least stands on either side of the pause.
    rest = onset + (span - pause) * rng.uniform(0.25, 0.75)
    return ((onset, rest), (rest + pause, onset + span))


def _within(limits: Range, greatest: float) -> Range:
    return min(limits[0], greatest), min(limits[1], greatest)
