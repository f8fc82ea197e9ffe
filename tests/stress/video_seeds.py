"""Small valid videos of many containers and codecs, about 10 kB each, from which broken ones are made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from tests.examples.tiny_videos import GREY_OF_FIRST_SECOND, GREY_STEP, sine

FPS = 5


@dataclass(frozen=True)
class Seed:
    """How a video is written."""

    name: str
    """Of the file; its suffix chooses the container."""
    picture: str | None = "libx264"
    sound: str | None = "aac"
    pixels: str = "yuv420p"
    sample_rate: int = 16000
    layout: str = "stereo"
    options: tuple[tuple[str, str], ...] = ()
    """Of the container."""


SEEDS = (
    Seed("plain.mp4"),
    Seed("fast.mp4", options=(("movflags", "faststart"),)),
    Seed("fragments.mp4", options=(("movflags", "frag_keyframe+empty_moov"), ("frag_duration", "500000"))),
    Seed("mute.mp4", sound=None),
    Seed("simple.mov", picture="mjpeg", pixels="yuvj420p", sound="pcm_s16le", sample_rate=8000, layout="mono"),
    Seed("plain.mkv"),
    Seed("live.mkv", options=(("live", "1"),)),
    Seed("eight.webm", picture="libvpx", sound="libopus", sample_rate=48000),
    Seed("nine.webm", picture="libvpx-vp9", sound="libopus", sample_rate=48000),
    Seed("plain.avi", picture="mpeg4", sound="libmp3lame", sample_rate=22050),
    Seed("plain.ts"),
    Seed("plain.mpg", picture="mpeg2video", sound="mp2"),
    Seed("plain.flv", picture="flv", sound="libmp3lame", sample_rate=22050),
    Seed("plain.wmv", picture="wmv2", sound="wmav2", sample_rate=22050),
    Seed("plain.ogv", picture="libvpx", sound="libopus", sample_rate=48000),
    Seed("plain.gif", picture="gif", sound=None, pixels="rgb8"),
)


def write_seed(folder: Path, seed: Seed, seconds: float = 2.0, size: tuple[int, int] = (32, 48)) -> Path:
    """Writes one: a grey that tells the second, and a 440 Hz sine of 0.5 all through."""
    path = folder / seed.name
    with av.open(str(path), "w", options=dict(seed.options)) as container:
        video = _picture_stream(container, seed, size) if seed.picture else None
        audio = _sound_stream(container, seed) if seed.sound else None
        if video:
            rate = int(video.average_rate or FPS)
            for number in range(round(seconds * rate)):
                container.mux(video.encode(picture(number, rate, size)))
            container.mux(video.encode(None))
        if audio:
            wave = np.repeat(sine(seconds, seed.sample_rate)[None], len(audio.layout.channels), axis=0)
            for piece in blocks(wave, seed.sample_rate, seed.layout, audio.codec_context.frame_size or 1024):
                container.mux(audio.encode(piece))
            container.mux(audio.encode(None))
    return path


def _picture_stream(container: av.container.OutputContainer, seed: Seed, size: tuple[int, int]) -> av.VideoStream:
    # MPEG-2 knows few rates.
    video = container.add_stream(seed.picture or "", rate=25 if seed.picture == "mpeg2video" else FPS)
    assert isinstance(video, av.VideoStream)
    video.height, video.width = size
    video.pix_fmt = seed.pixels
    if seed.picture in ("libvpx", "libvpx-vp9"):
        video.options = {"deadline": "realtime", "cpu-used": "8"}
    return video


def _sound_stream(container: av.container.OutputContainer, seed: Seed) -> av.AudioStream:
    audio = container.add_stream(seed.sound or "", rate=seed.sample_rate, layout=seed.layout)
    assert isinstance(audio, av.AudioStream)
    # Less sound in a file, more of its structure.
    audio.bit_rate = 32000
    return audio


def picture(number: int, rate: int, size: tuple[int, int]) -> av.VideoFrame:
    """Frame `number` at `rate` frames a second: the grey of its second, with a little noise, so that bits matter."""
    level = GREY_OF_FIRST_SECOND + GREY_STEP * (number // rate % 7)
    noise = np.random.default_rng(number).integers(-3, 4, (*size, 3))
    frame = av.VideoFrame.from_ndarray((level + noise).astype(np.uint8), format="rgb24")
    frame.pts, frame.time_base = number, Fraction(1, rate)
    return frame


def blocks(samples: npt.NDArray[np.float32], sample_rate: int, layout: str, length: int) -> Iterable[av.AudioFrame]:
    """Samples [channels, n] as frames of `length`, as encoders want them."""
    # Side by side: PyAV crashes where 8 channels or more lie one behind the other.
    packed = np.ascontiguousarray(samples.T).reshape(1, -1)
    sound = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
    sound.sample_rate, sound.time_base, sound.pts = sample_rate, Fraction(1, sample_rate), 0
    queue = av.AudioFifo()
    queue.write(sound)
    while (piece := queue.read(length, partial=True)) is not None:
        yield piece
