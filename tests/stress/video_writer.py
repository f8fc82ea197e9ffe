"""Writes videos of extreme kinds, whose right result is known: each second has its own grey, and its own loudness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from tests.examples.tiny_videos import GREY_OF_FIRST_SECOND, GREY_STEP

from .video_seeds import blocks

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Picture:
    """A picture stream. A frame's grey is that of the second in which it begins."""

    times: Sequence[Fraction]
    """When each frame begins."""
    size: tuple[int, int] = (32, 48)
    codec: str = "libx264"
    pixels: str = "yuv420p"
    clock: Fraction = Fraction(1, 1000)
    fps: Fraction = Fraction(5)
    """What the header says of the rate; the last frame lasts so long."""
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sound:
    """A stream of sound, [channels, n] in each part, which begins at a time."""

    parts: Sequence[tuple[Fraction, Samples]]
    rate: int = 16000
    layout: str = "mono"
    codec: str = "pcm_s16le"


def steady(seconds: float, fps: Fraction = Fraction(5)) -> list[Fraction]:
    """When frames begin at a steady rate."""
    return [number / fps for number in range(max(round(seconds * fps), 1))]


def tone(seconds: float, rate: int = 16000, channels: int = 1) -> Samples:
    """A sine of 440 Hz, [channels, n], whose amplitude is 0.1, 0.2, 0.3, 0.4, 0.5, 0.1 ... in each second."""
    times = np.arange(round(seconds * rate)) / rate
    wave = 0.1 * (1 + times.astype(int) % 5) * np.sin(2 * np.pi * 440 * times)
    return np.repeat(wave[None].astype(np.float32), channels, axis=0)


def write(
    path: Path,
    picture: Picture | None,
    sounds: Sequence[Sound] = (),
    shift: Fraction = Fraction(0),
    options: dict[str, str] | None = None,
    subtitle: str | None = None,
) -> Path:
    """Writes a file.

    Args:
        path: its suffix chooses the container.
        picture: the picture stream.
        sounds: streams of sound.
        shift: added to every timestamp, in seconds.
        options: of the container.
        subtitle: the codec of a stream of subtitles, of one packet that nobody can read.
    """
    packets: list[av.Packet[Any]] = []
    with av.open(str(path), "w", options=options or {}) as container:
        video = picture and _picture_stream(container, picture)
        tracks = [container.add_stream(sound.codec, rate=sound.rate, layout=sound.layout) for sound in sounds]
        if subtitle:
            titles = container.add_stream(subtitle)
        if picture and video:
            for time in picture.times:
                packets += video.encode(_frame(picture, time))
            packets += video.encode(None)
        for sound, track in zip(sounds, tracks, strict=True):
            assert isinstance(track, av.AudioStream)
            for start, samples in sound.parts:
                for piece in blocks(samples, sound.rate, sound.layout, track.codec_context.frame_size or 1024):
                    piece.pts = (piece.pts or 0) + round(start * sound.rate)
                    packets += track.encode(piece)
            packets += track.encode(None)
        if subtitle:
            packet = av.Packet(bytes(range(64)))
            packet.stream, packet.time_base = titles, Fraction(1, 1000)
            packet.pts = packet.dts = packet.duration = 500
            packets.append(packet)
        for packet in sorted(packets, key=lambda one: (one.dts or 0) * (one.time_base or 1)):
            if shift and packet.pts is not None and packet.dts is not None and packet.time_base:
                ticks = round(shift / packet.time_base)
                packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
            container.mux(packet)
    return path


def grey_of(second: int) -> int:
    """The grey of a second's frames."""
    return GREY_OF_FIRST_SECOND + GREY_STEP * (second % 7)


def _picture_stream(container: av.container.OutputContainer, picture: Picture) -> av.VideoStream:
    stream = container.add_stream(picture.codec, rate=picture.fps, options=picture.options)
    assert isinstance(stream, av.VideoStream)
    stream.height, stream.width = picture.size
    stream.pix_fmt = picture.pixels
    stream.codec_context.time_base, stream.codec_context.thread_count = picture.clock, 1
    return stream


def _frame(picture: Picture, time: Fraction) -> av.VideoFrame:
    pixels = np.full((*picture.size, 3), grey_of(int(time)), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=picture.pixels)
    frame.time_base, frame.pts = picture.clock, round(time / picture.clock)
    return frame
