"""The sound of a concert: each player's melody from a General MIDI sound font, mixed, with a voice-over.

Everything random follows from the seeds of the scene and its players.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tinysoundfont

from .scene import Player, Scene
from .voice import speak

Sound = npt.NDArray[np.float32]

# General MIDI programs, from 0; of the drum the kits. The last of each is held out for test.
PROGRAMS: dict[str, tuple[int, ...]] = {
    "accordion": (21, 23),
    "acoustic_guitar": (24, 25, 26),
    "bagpipe": (109,),
    "banjo": (105, 106),
    "drum": (0, 16, 40),
    "flute": (73, 72, 75),
    "piano": (0, 1, 3),
    "saxophone": (65, 66, 64, 67),
    "trumpet": (56, 59),
    "tuba": (58,),
    "violin": (40, 110),
    "xylophone": (13, 12, 11),
}

# MIDI keys that an instrument plays between.
RANGES: dict[str, tuple[int, int]] = {
    "accordion": (55, 84),
    "acoustic_guitar": (43, 74),
    "bagpipe": (60, 79),
    "banjo": (52, 79),
    "drum": (35, 51),
    "flute": (65, 91),
    "piano": (45, 86),
    "saxophone": (50, 79),
    "trumpet": (55, 82),
    "tuba": (31, 55),
    "violin": (57, 90),
    "xylophone": (65, 96),
}
# Bass drum, snares, toms and hi-hats of a General MIDI kit.
DRUM_KEYS = (35, 36, 38, 40, 41, 45, 48, 42, 46)
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9))

FAST_NOTES, SLOW_NOTES = (5.0, 7.0), (1.0, 1.6)
"""Notes a second."""
LOUD, SOFT = -18.0, -28.0
"""Level of a player while it sounds, dB below full scale: the player's loudness decides, not its program's."""
VOICE_LEVEL, NOISE_LEVEL = -18.0, -66.0
RELEASE = 0.2
"""Seconds after a segment's end by which it is silent."""
DRUM_BANK, DRUM_CHANNEL = 128, 9


class Note(NamedTuple):
    """One note, in seconds."""

    start: float
    stop: float
    key: int


def render_sound(scene: Scene, sample_rate: int = 44100) -> Sound:
    """The whole concert in stereo, [2, samples], within full scale."""
    samples = round(scene.duration * sample_rate)
    mix = np.zeros((2, samples), dtype=np.float32)
    rng = np.random.default_rng([scene.seed, 3])
    for player in scene.players:
        if player.heard:
            mix += _panned(
                render_player(player, scene.duration, sample_rate), 0.5 if player.seat is None else player.seat
            )
    if scene.voiceover is not None:
        start, stop = scene.voiceover
        voice = speak(stop - start, sample_rate, rng)
        place = round(start * sample_rate)
        voice = voice[: samples - place]
        mix[:, place : place + len(voice)] += voice * _gain(voice, VOICE_LEVEL)
    mix += rng.standard_normal(mix.shape, dtype=np.float32) * np.float32(10 ** (NOISE_LEVEL / 20))
    # One factor for all: relative loudness stays.
    return mix * np.float32(min(1.0, 0.95 / max(float(np.abs(mix).max()), 1e-9)))


def render_player(player: Player, duration: float, sample_rate: int = 44100) -> Sound:
    """One player's sound, mono, [samples]; silent outside its segments."""
    samples = round(duration * sample_rate)
    synth = tinysoundfont.Synth(samplerate=sample_rate)
    font = synth.sfload(_font())
    channel, bank = (DRUM_CHANNEL, DRUM_BANK) if player.instrument == "drum" else (0, 0)
    program = PROGRAMS[player.instrument][player.program]
    synth.program_select(channel, font, bank, program, is_drums=bank == DRUM_BANK)
    velocity = 112 if player.loud else 76
    events = [(round(note.start * sample_rate), True, note.key) for note in melody(player)]
    events += [(round(note.stop * sample_rate), False, note.key) for note in melody(player)]
    parts, now = [], 0
    # At one instant notes end before others begin.
    for time, begins, key in sorted(events):
        if time > now:
            parts.append(_generated(synth, time - now))
            now = time
        if begins:
            synth.noteon(channel, key, velocity)
        else:
            synth.noteoff(channel, key)
    parts.append(_generated(synth, max(samples - now, 0)))
    sound = np.concatenate(parts)[:samples] * _gate(player, samples, sample_rate)
    playing = np.concatenate([sound[round(a * sample_rate) : round(b * sample_rate)] for a, b in player.segments])
    return (sound * _gain(playing, LOUD if player.loud else SOFT)).astype(np.float32)


def melody(player: Player) -> list[Note]:
    """What the player plays: a random walk on a scale, within its segments."""
    rng = np.random.default_rng([player.seed, 2])
    pace = rng.uniform(*(FAST_NOTES if player.fast else SLOW_NOTES))
    keys = _keys(player.instrument, rng)
    return [note for segment in player.segments for note in _phrase(segment, pace, keys, rng)]


def _keys(instrument: str, rng: np.random.Generator) -> list[int]:
    if instrument == "drum":
        return [int(key) for key in rng.choice(DRUM_KEYS, size=5, replace=False)]
    low, high = RANGES[instrument]
    width = min(high - low, 19)
    bottom = int(rng.integers(low, high - width + 1))
    scale, root = SCALES[int(rng.integers(len(SCALES)))], int(rng.integers(12))
    return [key for key in range(bottom, bottom + width + 1) if (key - root) % 12 in scale]


def _phrase(segment: tuple[float, float], pace: float, keys: list[int], rng: np.random.Generator) -> Iterator[Note]:
    start, stop = segment
    place = int(rng.integers(len(keys)))
    time = start
    while time < stop - 0.08:
        length = float(rng.choice((0.75, 1.0, 1.0, 1.25))) / pace
        yield Note(time, min(time + 0.92 * length, stop), keys[place])
        time += length
        place = int(np.clip(place + rng.choice((-2, -1, -1, 1, 1, 2)), 0, len(keys) - 1))


def _generated(synth: tinysoundfont.Synth, samples: int) -> Sound:
    if not samples:
        return np.zeros(0, dtype=np.float32)
    stereo: Sound = np.frombuffer(synth.generate(samples), dtype=np.float32).reshape(-1, 2)
    return np.asarray(stereo.mean(1), dtype=np.float32)


def _gate(player: Player, samples: int, sample_rate: int) -> Sound:
    """1 within the segments, falling to 0 just after each: sound fonts let some notes ring for seconds."""
    times = np.arange(samples, dtype=np.float32) / sample_rate
    gate = np.zeros(samples, dtype=np.float32)
    for start, stop in player.segments:
        falling = np.clip(1 - (times - stop) / RELEASE, 0, 1)
        gate = np.maximum(gate, np.where(times >= start, falling, 0))
    return gate


def _gain(sound: Sound, level: float) -> np.float32:
    """What brings the sound to a level, dB below full scale."""
    power = float(np.sqrt(np.mean(np.square(sound)))) if sound.size else 0.0
    return np.float32(10 ** (level / 20) / max(power, 1e-6))


def _panned(sound: Sound, seat: float) -> Sound:
    """Stereo [2, samples] of equal power, within half of the width between the speakers."""
    angle = np.pi / 4 * (0.5 + seat)
    return np.stack((np.cos(angle) * sound, np.sin(angle) * sound)).astype(np.float32)


@lru_cache(maxsize=1)
def _font() -> bytes:
    """The sound font that pretty_midi ships; read without importing pretty_midi, of which nothing else is used."""
    spec = find_spec("pretty_midi")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "TimGM6mb.sf2").read_bytes()
