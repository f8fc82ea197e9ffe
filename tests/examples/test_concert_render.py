"""Concerts as files: whole, in time, alike every time, with pictures that do not betray the sound."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from examples.avqa.concert import build
from examples.avqa.concert.backdrop import draw_backdrop
from examples.avqa.concert.build import concert
from examples.avqa.concert.pictures import NUM_DRAWINGS, draw_player
from examples.avqa.concert.render import FRAMES_PER_SECOND, HEIGHT, WIDTH, draw_frames, render_concert
from examples.avqa.concert.scene import INSTRUMENTS, Player, Scene
from examples.avqa.errors import UserError
from examples.avqa.media import probe, read_audio, read_frames

PIANO = Player("piano", 0.25, ((0.0, 1.0),), True, True, 0, 0, 0.45, 5.0, seed=1)
TUBA = Player("tuba", 0.75, ((2.0, 3.0),), False, False, 0, 1, 0.45, -5.0, seed=2)
SCENE = Scene("a", "train", 3.0, (PIANO, TUBA), "indoor", None, seed=4)


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_every_drawing_of_an_instrument_is_a_picture_of_its_own(instrument: str) -> None:
    small = []
    for drawing in range(NUM_DRAWINGS):
        player = replace(PIANO, instrument=instrument, drawing=drawing)
        picture = draw_player(player, HEIGHT)
        height, width, channels = picture.shape
        assert channels == 4
        assert 0.2 * HEIGHT < max(height, width / 1.2) <= player.size * HEIGHT + 2
        covered = picture[..., 3] > 128
        assert 0.03 < covered.mean() < 0.95, "neither empty nor a box"
        assert picture[covered][:, :3].std() > 15, "drawn, not one colour"
        small.append(np.asarray(Image.fromarray(picture).resize((24, 24)), dtype=np.float32))
        assert np.array_equal(picture, draw_player(player, HEIGHT))
        assert not np.array_equal(picture, draw_player(replace(player, seed=player.seed + 1), HEIGHT))
    for number, one in enumerate(small):
        for other in small[:number]:
            assert np.abs(one - other).mean() > 5


def test_places_look_different_and_differ_from_scene_to_scene() -> None:
    indoor = draw_backdrop("indoor", 96, 54, np.random.default_rng(1)).astype(int)
    other = draw_backdrop("indoor", 96, 54, np.random.default_rng(2)).astype(int)
    outdoor = draw_backdrop("outdoor", 96, 54, np.random.default_rng(1)).astype(int)
    assert indoor.shape == (54, 96, 3)
    assert np.abs(indoor - other).mean() > 8
    assert np.abs(indoor - outdoor).mean() > 8


def test_the_picture_does_not_betray_the_sound() -> None:
    silent = replace(SCENE, players=(replace(PIANO, segments=()), replace(TUBA, segments=())))
    for playing, still in zip(draw_frames(SCENE), draw_frames(silent), strict=True):
        assert np.array_equal(playing, still)


def test_players_stand_at_their_seats_and_move() -> None:
    empty = next(draw_frames(replace(SCENE, players=()))).astype(int)
    alone = next(draw_frames(replace(SCENE, players=(PIANO,)))).astype(int)
    columns = np.flatnonzero(np.abs(alone - empty).sum((0, 2)) > 200)
    assert abs(columns.mean() / WIDTH - 0.25) < 0.06
    frames = list(draw_frames(SCENE))
    assert len(frames) == 3 * FRAMES_PER_SECOND
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 0.5


def test_a_concert_is_a_video_with_sound_in_time(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    render_concert(SCENE, path)
    info = probe(path)
    assert (info.width, info.height, info.has_audio) == (WIDTH, HEIGHT, True)
    assert info.duration == pytest.approx(3.0, abs=0.1)
    frames = read_frames(path)
    wanted = list(draw_frames(SCENE))
    for second, frame in enumerate(frames):
        drawn = wanted[second * FRAMES_PER_SECOND + FRAMES_PER_SECOND // 2].astype(int)
        assert np.abs(frame - drawn).mean() < 8, "H.264 loses little"
    sound = read_audio(path, seconds=3)
    assert sound is not None
    # The first half of the pause still holds the last note's release.
    loud, between, soft = (float(np.sqrt(np.mean(np.square(part)))) for part in (sound[0], sound[1, 8000:], sound[2]))
    assert loud > 2 * soft > 20 * between


def test_a_failed_rendering_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("no sound")

    monkeypatch.setattr("examples.avqa.concert.render.render_sound", broken)
    with pytest.raises(RuntimeError, match="no sound"):
        render_concert(SCENE, tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_data_set_is_complete_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    concert(tmp_path, train=2, val=1, test=1, workers=1)
    videos = sorted((tmp_path / "videos").iterdir())
    assert [path.stem for path in videos] == ["test_00000", "train_00000", "train_00001", "val_00000"]
    times = {path: path.stat().st_mtime_ns for path in videos}
    videos[0].unlink()
    concert(tmp_path, train=2, val=1, test=1, workers=1)
    after = {path: path.stat().st_mtime_ns for path in sorted((tmp_path / "videos").iterdir())}
    assert {path for path in after if after[path] != times[path]} == {videos[0]}
    with pytest.raises(UserError, match="other settings \\(seed\\)"):
        concert(tmp_path, train=2, val=1, test=1, seed=1, workers=1)
    with pytest.raises(UserError, match="workers"):
        build.concert(tmp_path, workers=0)
