"""Sampled concerts: the same whatever the order of sampling, timed as designed, and free of shortcuts to the order."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from examples.avqa.concert.sample import SPLITS, sample_scene, sample_scenes
from examples.avqa.concert.scene import INSTRUMENTS, Player, Scene, Split
from examples.avqa.concert.settings import ConcertSettings
from examples.avqa.errors import UserError

SETTINGS = ConcertSettings(train=1500, val=20, test=600)
# One instrument with a single program: nothing of it can be held out.
PROGRAMS = dict.fromkeys(INSTRUMENTS, 3) | {"bagpipe": 1}
DRAWINGS = 4


def scenes_of(split: Split, settings: ConcertSettings = SETTINGS) -> list[Scene]:
    return sample_scenes(settings, split, programs_per_instrument=PROGRAMS, drawings=DRAWINGS)


SCENES = scenes_of("train")
TEST_SCENES = scenes_of("test")


def entering(scene: Scene) -> list[Player]:
    players = [p for p in scene.players if p.heard and p.sounding < scene.duration]
    return sorted(players, key=lambda player: player.onset)


def start_together(scene: Scene) -> bool:
    players = entering(scene)
    return len(players) >= 2 and players[-1].onset - players[0].onset < 1


STAGGERED = [scene for scene in SCENES if len(entering(scene)) >= 2 and not start_together(scene)]


@pytest.mark.parametrize("split", SPLITS)
def test_a_scene_depends_on_seed_split_and_index_alone(split: Split) -> None:
    def scene(settings: ConcertSettings, index: int) -> Scene:
        return sample_scene(settings, split, index, programs_per_instrument=PROGRAMS, drawings=DRAWINGS)

    assert [scene(SETTINGS, index) for index in (7, 2)] == [scenes_of(split)[index] for index in (7, 2)]
    larger = dataclasses.replace(SETTINGS, train=9999, val=9999, test=9999)
    assert scene(larger, 3) == scene(SETTINGS, 3)
    assert scene(dataclasses.replace(SETTINGS, seed=1), 3).seed != scene(SETTINGS, 3).seed


def test_no_two_scenes_are_alike() -> None:
    everything = [scene for split in SPLITS for scene in scenes_of(split)]
    assert len({scene.video_id for scene in everything}) == len(everything)
    assert len({dataclasses.replace(scene, video_id="", split="train", seed=0) for scene in everything}) == len(
        everything
    )


def test_the_number_of_variants_changes_nothing_else() -> None:
    few = dict.fromkeys(INSTRUMENTS, 1)
    for index, scene in enumerate(SCENES[:50]):
        other = sample_scene(SETTINGS, "train", index, programs_per_instrument=few, drawings=1)
        players = tuple(dataclasses.replace(player, program=0, drawing=0) for player in scene.players)
        assert other == dataclasses.replace(scene, players=players)


def test_a_scene_survives_json() -> None:
    for scene in SCENES[:200]:
        assert Scene.from_json(json.loads(json.dumps(scene.to_json()))) == scene


def test_players_stand_in_order_apart_and_the_unseen_come_last() -> None:
    for scene in SCENES:
        seats = [player.seat for player in scene.players]
        seen = [seat for seat in seats if seat is not None]
        assert seats == seen + [None] * (len(seats) - len(seen))
        assert 1 <= len(seen) <= 4
        assert len(seats) - len(seen) <= 1
        assert all(right - left > 0.18 for left, right in pairwise([0 - 0.09, *seen, 1 + 0.09]))
        assert all(0.38 <= player.size <= 0.55 and abs(player.tilt) <= 15 for player in scene.players)


def test_somebody_is_heard_and_the_unseen_player_is_unlike_all_others() -> None:
    for scene in SCENES:
        assert any(player.heard for player in scene.players)
        for player in scene.players:
            if not player.seen:
                assert player.heard
                assert [p.instrument for p in scene.players].count(player.instrument) == 1


def test_segments_are_sorted_apart_and_within_the_concert() -> None:
    pauses = 0
    for player in (player for scene in SCENES for player in scene.players if player.heard):
        edges = [time for segment in player.segments for time in segment]
        assert edges == sorted(edges)
        assert edges[0] >= 0
        assert edges[-1] <= 30
        if player.segments != ((0.0, 30.0),):
            assert 5 <= edges[-1] - edges[0] <= 12 + 1e-9
            assert len(player.segments) <= 2
            assert all(stop - start > 0.4 for start, stop in player.segments)
            pauses += len(player.segments) == 2
        if len(player.segments) == 2:
            assert 1.5 - 1e-9 <= edges[2] - edges[1] <= 3 + 1e-9
    assert pauses > 300


def test_onsets_are_three_seconds_apart_or_together() -> None:
    for scene in SCENES:
        onsets = [player.onset for player in entering(scene)]
        if start_together(scene):
            assert onsets[-1] - onsets[0] <= 0.2
            assert onsets[-1] <= 2
        else:
            assert all(b - a >= 3 - 1e-9 for a, b in pairwise(onsets))
            assert not onsets or onsets[0] <= 3
            assert max(onsets, default=0) <= 18 + 1e-9
        assert sum(player.sounding == scene.duration for player in scene.players) <= 1


def correlation(pairs: Sequence[tuple[float, float]]) -> float:
    first, second = np.array(pairs).T
    return float(np.corrcoef(first, second)[0, 1])


def test_neither_length_nor_seat_nor_loudness_tells_the_order() -> None:
    ranked = [(rank, player) for scene in STAGGERED for rank, player in enumerate(entering(scene))]
    assert len(STAGGERED) > 900
    assert abs(correlation([(rank, player.sounding) for rank, player in ranked])) < 0.08
    assert abs(correlation([(player.onset, player.sounding) for _, player in ranked])) < 0.08
    assert abs(correlation([(rank, player.loud) for rank, player in ranked])) < 0.08
    assert abs(correlation([(rank, player.fast) for rank, player in ranked])) < 0.08
    # Within each scene, so that crowded scenes (high ranks, outer seats) do not blur it.
    steps = []
    for scene in STAGGERED:
        seen = [player for player in entering(scene) if player.seat is not None]
        steps += [(a.onset < b.onset, (a.seat or 0) < (b.seat or 0)) for a in seen for b in seen if a != b]
    assert abs(correlation(steps)) < 0.08


def test_players_are_loud_and_fast_independently_of_each_other() -> None:
    pairs = [(scene.players[0], scene.players[1]) for scene in SCENES if len(scene.players) >= 2]
    for trait in ("loud", "fast"):
        assert abs(correlation([(getattr(a, trait), getattr(b, trait)) for a, b in pairs])) < 0.08


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (lambda s: sum(p.seen for p in s.players) == 1, 0.10),
        (lambda s: sum(p.seen for p in s.players) == 2, 0.25),
        (lambda s: sum(p.seen for p in s.players) == 3, 0.40),
        (lambda s: sum(p.seen for p in s.players) == 4, 0.25),
        (lambda s: any(not p.seen for p in s.players), 0.18),
        (lambda s: any(p.sounding == s.duration for p in s.players), 0.12),
        (lambda s: s.voiceover is not None, 0.25),
        (lambda s: s.place == "indoor", 0.60),
        (lambda s: s.players[0].loud, 0.50),
        (lambda s: s.players[0].fast, 0.50),
        # Only where two or more are seen: 0.9 of the scenes.
        (lambda s: len({p.instrument for p in s.players}) < len(s.players), 0.20 * 0.9),
    ],
)
def test_shares_of_scenes(share: Any, expected: float) -> None:
    # Three standard errors at 1,500 scenes.
    assert np.mean([share(scene) for scene in SCENES]) == pytest.approx(
        expected, abs=3 * np.sqrt(expected * (1 - expected) / len(SCENES))
    )


def test_shares_of_silent_players_and_of_starts_together() -> None:
    # One of them sounds where all would be silent, so that the share lies a little below the setting.
    crowded = [s for s in SCENES if sum(p.seen for p in s.players) >= 3]
    assert np.mean([not p.heard for s in crowded for p in s.players if p.seen]) == pytest.approx(0.18, abs=0.025)
    several = [scene for scene in SCENES if len(entering(scene)) >= 2]
    assert np.mean([start_together(scene) for scene in several]) == pytest.approx(0.15, abs=0.03)


def test_voices_last_four_to_ten_seconds_within_the_concert() -> None:
    for start, stop in (scene.voiceover for scene in SCENES if scene.voiceover):
        assert 0 <= start < stop <= 30
        assert 4 <= stop - start <= 10 + 1e-9


def test_instruments_are_equally_frequent() -> None:
    names = [player.instrument for scene in SCENES for player in scene.players]
    for instrument in INSTRUMENTS:
        assert names.count(instrument) / len(names) == pytest.approx(1 / 12, abs=0.02)


def test_players_of_one_instrument_share_the_program() -> None:
    for scene in SCENES + TEST_SCENES:
        programs = {player.instrument: player.program for player in scene.players}
        assert all(player.program == programs[player.instrument] for player in scene.players)


def test_the_last_program_and_drawing_are_held_out_for_test() -> None:
    for scene in SCENES + scenes_of("val"):
        for player in scene.players:
            assert player.program < max(1, PROGRAMS[player.instrument] - 1)
            assert player.drawing < DRAWINGS - 1
    trained = [player for scene in SCENES for player in scene.players]
    assert {player.drawing for player in trained} == set(range(DRAWINGS - 1))
    assert {player.program for player in trained} == {0, 1}
    tested = [player for scene in TEST_SCENES for player in scene.players]
    assert np.mean([player.drawing == DRAWINGS - 1 for player in tested]) == pytest.approx(0.3, abs=0.04)
    several = [player for player in tested if PROGRAMS[player.instrument] > 1]
    assert np.mean([player.program == 2 for player in several]) == pytest.approx(0.3, abs=0.04)
    assert all(player.program == 0 for player in tested if PROGRAMS[player.instrument] == 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"train": 0}, "train is 0, expected at least 1"),
        ({"silent": 1.5}, "silent is 1.5, expected a probability"),
        ({"seen_shares": (0.5, 0.5, 0.5, 0.0)}, "sum to 1"),
        ({"span": (12.0, 5.0)}, "span is"),
        ({"duration": 20.0}, "duration is 20.0 s"),
        ({"onset_gap": 5.0}, "lower onset_gap"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ConcertSettings(**wrong)
