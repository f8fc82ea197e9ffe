"""The sound of concerts: when, how loud and how fast players sound, and that it is the same every time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from examples.avqa.concert.scene import INSTRUMENTS, Player, Scene
from examples.avqa.concert.sound import LOUD, PROGRAMS, SOFT, melody, render_player, render_sound
from examples.avqa.concert.voice import speak

RATE = 16000
PLAYER = Player("trumpet", 0.2, ((1.0, 3.0), (5.0, 6.5)), True, True, 0, 0, 0.4, 0.0, seed=5)


def scene(*players: Player, voiceover: tuple[float, float] | None = None) -> Scene:
    return Scene("a", "train", 8.0, players, "indoor", voiceover, seed=3)


def level(sound: npt.NDArray[np.float32], start: float, stop: float) -> float:
    """Root mean square in dB below full scale."""
    part = sound[..., round(start * RATE) : round(stop * RATE)]
    return 20 * float(np.log10(np.sqrt(np.mean(np.square(part))) + 1e-9))


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_every_program_sounds_within_its_segments_only(instrument: str) -> None:
    for program in range(len(PROGRAMS[instrument])):
        for fast in (True, False):
            player = replace(PLAYER, instrument=instrument, program=program, fast=fast)
            sound = render_player(player, 8.0, RATE)
            assert sound.shape == (8 * RATE,)
            assert np.isfinite(sound).all()
            for silent in ((0, 0.99), (3.25, 4.99), (6.75, 8)):
                assert level(sound, *silent) < -120, (program, silent)
            for start, stop in player.segments:
                assert level(sound, start, start + 0.5) > -45, "the onset is heard at once"
                assert level(sound, start, stop) > -38, "single notes differ in loudness, most of all a drum's"


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_loudness_is_the_players_and_not_the_programs(instrument: str) -> None:
    for program in range(len(PROGRAMS[instrument])):
        for loud, wanted in ((True, LOUD), (False, SOFT)):
            player = replace(PLAYER, instrument=instrument, program=program, loud=loud, segments=((1.0, 6.0),))
            assert level(render_player(player, 8.0, RATE), 1, 6) == pytest.approx(wanted, abs=0.1)
    assert LOUD - SOFT >= 9


def test_fast_players_play_several_times_as_many_notes() -> None:
    fast, slow = (len(melody(replace(PLAYER, fast=fast, segments=((0.0, 10.0),)))) for fast in (True, False))
    assert 45 <= fast <= 75
    assert 9 <= slow <= 18


def test_notes_stay_within_the_segments() -> None:
    for seed in range(20):
        for note in melody(replace(PLAYER, seed=seed)):
            assert any(start <= note.start < note.stop <= stop for start, stop in PLAYER.segments)


def test_the_same_scene_sounds_the_same_whatever_came_before() -> None:
    first = render_sound(scene(PLAYER, voiceover=(2.0, 6.0)), RATE)
    render_sound(scene(replace(PLAYER, instrument="drum", seed=9)), RATE)
    assert np.array_equal(first, render_sound(scene(PLAYER, voiceover=(2.0, 6.0)), RATE))
    assert not np.array_equal(first, render_sound(scene(replace(PLAYER, seed=6), voiceover=(2.0, 6.0)), RATE))


def test_a_full_scene_stays_within_full_scale_and_keeps_relative_loudness() -> None:
    players = [
        replace(PLAYER, instrument=name, seat=0.5, segments=((0.0, 8.0),), seed=n) for n, name in enumerate(INSTRUMENTS)
    ]
    assert np.abs(render_sound(scene(*players), RATE)).max() <= 0.951


def test_a_player_on_the_left_is_louder_in_the_left_channel() -> None:
    left, right = render_sound(scene(replace(PLAYER, seat=0.15)), RATE)
    assert level(left, 1, 3) > level(right, 1, 3) + 2
    left, right = render_sound(scene(replace(PLAYER, seat=0.85)), RATE)
    assert level(right, 1, 3) > level(left, 1, 3) + 2


def test_the_voice_over_speaks_when_the_scene_says() -> None:
    sound = render_sound(scene(voiceover=(2.0, 6.0)), RATE)
    assert level(sound, 2, 6) > -22
    assert max(level(sound, 0, 1.99), level(sound, 6.05, 8)) < -60


def test_the_voice_has_syllables_pauses_and_speech_formants() -> None:
    voice = speak(10.0, RATE, np.random.default_rng(1))
    assert voice.shape == (10 * RATE,)
    frames = np.sqrt(np.mean(np.square(voice[: len(voice) // 320 * 320].reshape(-1, 320)), axis=1))
    quiet = frames < 0.05 * frames.max()
    assert 0.05 < quiet.mean() < 0.5
    changes = np.count_nonzero(np.diff((frames > 0.3 * frames.max()).astype(int)) == 1)
    assert 20 <= changes <= 80, "2 to 8 syllables a second"
    power = np.abs(np.fft.rfft(voice)) ** 2
    frequency = np.fft.rfftfreq(len(voice), 1 / RATE)
    assert power[(frequency > 80) & (frequency < 4000)].sum() > 0.8 * power.sum()
