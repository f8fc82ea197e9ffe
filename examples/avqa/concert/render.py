"""A scene as a video file: H.264 pictures and AAC sound in MP4.

Players sway all the time, whether they play or not: the picture does not betray the sound.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from examples.avqa.files import written_whole

from .backdrop import draw_backdrop
from .pictures import draw_player
from .scene import Player, Scene
from .sound import render_sound

WIDTH, HEIGHT = 384, 216
FRAMES_PER_SECOND = 8
SAMPLE_RATE = 44100
MARGIN = 12
"""Pixels of backdrop beyond each edge, for the camera's drift."""
SWAY_DEGREES, SWAY_PIXELS = 4.0, 5.0
ANGLES = 9
"""Rotated pictures kept of each player."""

Picture = npt.NDArray[np.uint8]


def render_concert(scene: Scene, path: Path) -> None:
    """Writes the concert to `path` (.mp4), whole or not at all."""
    with (
        written_whole(path) as temporary,
        av.open(str(temporary), "w", options={"movflags": "+faststart"}) as container,
    ):
        video = container.add_stream(
            "libx264", rate=FRAMES_PER_SECOND, options={"preset": "veryfast", "crf": "23", "threads": "1"}
        )
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream(
            "aac", rate=SAMPLE_RATE, layout="stereo", options={"b": "128k", "aac_coder": "fast"}
        )
        for number, picture in enumerate(draw_frames(scene)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FRAMES_PER_SECOND)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        sound = av.AudioFrame.from_ndarray(render_sound(scene, SAMPLE_RATE), format="fltp", layout="stereo")
        sound.sample_rate, sound.pts, sound.time_base = SAMPLE_RATE, 0, Fraction(1, SAMPLE_RATE)
        container.mux(audio.encode(sound))
        container.mux(audio.encode())


def draw_frames(scene: Scene) -> Iterator[Picture]:
    """The pictures, RGB [HEIGHT, WIDTH, 3] each, FRAMES_PER_SECOND a second."""
    rng = np.random.default_rng([scene.seed, 2])
    backdrop = Image.fromarray(draw_backdrop(scene.place, WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN, rng))
    cast = [_Swaying(player) for player in scene.players if player.seen]
    drift = rng.uniform(0, 2 * np.pi, 2), rng.uniform(0.05, 0.2, 2)
    for number in range(round(scene.duration * FRAMES_PER_SECOND)):
        time = number / FRAMES_PER_SECOND
        # The camera moves slowly, players and all.
        dx, dy = (round(float(offset)) for offset in 0.8 * MARGIN * np.sin(drift[0] + drift[1] * time))
        stage = backdrop.copy()
        for swaying in cast:
            swaying.paste(stage, time)
        corner = MARGIN + dx, MARGIN + dy
        yield np.asarray(stage.crop((*corner, corner[0] + WIDTH, corner[1] + HEIGHT)))


class _Swaying:
    """One player in a few rotated pictures, and how it sways."""

    def __init__(self, player: Player) -> None:
        assert player.seat is not None
        rng = np.random.default_rng([player.seed, 3])
        sprite = Image.fromarray(draw_player(player, HEIGHT))
        angles = player.tilt + np.linspace(-SWAY_DEGREES, SWAY_DEGREES, ANGLES)
        self._pictures = [
            sprite.rotate(float(angle), resample=Image.Resampling.BICUBIC, expand=True) for angle in angles
        ]
        self._phases, self._speeds = rng.uniform(0, 2 * np.pi, 3), rng.uniform(0.6, 2.4, 3)
        # Feet near the lower edge, a little higher or lower from player to player.
        foot = HEIGHT * rng.uniform(0.8, 0.95)
        self._middle = MARGIN + player.seat * WIDTH, MARGIN + foot - sprite.height / 2

    def paste(self, stage: Image.Image, time: float) -> None:
        """Draws the player as it is at this time."""
        turn, dx, dy = np.sin(self._phases + self._speeds * time)
        picture = self._pictures[round((turn + 1) / 2 * (ANGLES - 1))]
        x = self._middle[0] + SWAY_PIXELS * dx - picture.width / 2
        y = self._middle[1] + 0.4 * SWAY_PIXELS * dy - picture.height / 2
        stage.paste(picture, (round(x), round(y)), picture)
