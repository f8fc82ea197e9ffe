"""Reads pictures and sound of a video file at exact times, in seconds from the start of the file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer

from .containers import (
    check_length,
    check_whole,
    content_end,
    duration,
    falls_short,
    opened,
    picture_stream,
    sound_stream,
    stream_duration,
    undecodable,
)
from .errors import UserError
from .sound_track import SoundTrack

F = TypeVar("F", av.VideoFrame, av.AudioFrame)

# Containers round timestamps (Matroska to 1 ms): a frame at 0.5 s may say 0.501 s.
_TIMESTAMP_SLACK = Fraction(1, 1000)


@dataclass(frozen=True)
class MediaInfo:
    """What the header of a video file says. `width` and `height` are as stored, before any rotation."""

    duration: float
    fps: float
    width: int
    height: int
    has_audio: bool
    sample_rate: int | None
    channels: int | None


def whole_seconds(duration: float, per_second: float = 1.0) -> int:
    """How many frames a clip of `duration` seconds has at `per_second`: rounded, halves up, at least 1."""
    return max(1, math.floor(duration * per_second + 0.5))


def probe(path: Path) -> MediaInfo:
    """Reads the header of a video file, not its content.

    Raises:
        UserError: no such file, not a readable video, no picture stream, no duration or one that cannot be, or a codec,
            size or rate that cannot be read.
    """
    with opened(path) as container:
        picture = picture_stream(container, path)
        sound = sound_stream(container, path)
        return MediaInfo(
            duration=float(duration(container, path)),
            fps=float(picture.average_rate or picture.guessed_rate or 0),
            width=picture.width,
            height=picture.height,
            has_audio=sound is not None,
            sample_rate=sound.sample_rate if sound else None,
            channels=sound.channels if sound else None,
        )


def read_frames(
    path: Path, frames_per_second: float = 1.0, size: tuple[int, int] | None = None, most: int | None = None
) -> npt.NDArray[np.uint8]:
    """All that `each_frame` gives, in one array [T, H, W, 3].

    Raises:
        UserError: as `each_frame`.
    """
    return np.stack(list(each_frame(path, frames_per_second, size, most)))


def each_frame(
    path: Path, frames_per_second: float = 1.0, size: tuple[int, int] | None = None, most: int | None = None
) -> Iterator[npt.NDArray[np.uint8]]:
    """Reads the frames on the screen at the middle of each interval of 1/`frames_per_second` seconds, one by one.

    Where the last interval ends before its middle, the last frame of the clip is taken. Where pictures change their
    size on the way, all are scaled to that of the first.

    Args:
        path: a video file.
        frames_per_second: how many frames are read for each second of the clip.
        size: (height, width) to which the whole picture is scaled, antialiased; None keeps its own size.
        most: how many frames are read at most; the rest of the file is not looked at.

    Yields:
        [H, W, 3] uint8, RGB, upright, `whole_seconds(duration, frames_per_second)` times or `most` times.

    Raises:
        UserError: as `probe`; or more than 6 hours would be read, the picture ends long before the header says, or
            cannot be decoded.
    """
    with opened(path) as container:
        stream = picture_stream(container, path)
        length = duration(container, path)
        step = 1 / Fraction(frames_per_second)
        count = whole_seconds(float(length), frames_per_second)
        count = count if most is None else min(count, most)
        check_length(path, float(count * step))
        done = 0
        picture_length = _picture_length(stream)
        on_screen: av.VideoFrame | None = None
        converted: av.VideoFrame | None = None
        end = Fraction(0)
        try:
            for frame, start, stop in _timed(container.decode(stream), container, picture_length):
                end = stop
                while done < count and start > (done + Fraction(1, 2)) * step + _TIMESTAMP_SLACK:
                    shown = on_screen or frame
                    if shown is not converted:
                        picture, converted = _upright_rgb(shown, size), shown
                        size = size or (picture.shape[0], picture.shape[1])
                    yield picture
                    done += 1
                on_screen = frame
                if done == count:
                    break
            if on_screen is None:
                raise UserError(f"{path} has no frames: its picture stream is empty; export the video again")
            if done < count:
                _check_ends(path, stream, "picture", end, length)
                picture = _upright_rgb(on_screen, size)
        except av.FFmpegError as error:
            raise undecodable(path, "picture", end, length, error) from None
        for _ in range(count - done):
            yield picture


def read_audio(path: Path, sample_rate: int = 16000, seconds: int | None = None) -> npt.NDArray[np.float32] | None:
    """Reads the sound, the mean of all channels, in whole seconds.

    Args:
        path: a video file.
        sample_rate: samples a second of the result.
        seconds: how many seconds to return; by default `whole_seconds(duration)`.

    Returns:
        [T, sample_rate] float32 in about [-1, 1], zero where there is no sound; None without a sound stream.

    Raises:
        UserError: as `probe`; or more than 6 hours would be read, the sound ends long before the header says, or cannot
            be decoded.
    """
    with opened(path) as container:
        stream = sound_stream(container, path)
        if stream is None:
            return None
        length = duration(container, path)
        seconds = whole_seconds(float(length)) if seconds is None else seconds
        check_length(path, seconds)
        track = SoundTrack(seconds, sample_rate)
        end = Fraction(0)
        try:
            for frame, start, stop in _timed(container.decode(stream), container, _sound_length):
                end = stop
                track.put(frame, start)
                if track.full:
                    break
            else:
                track.end()
                _check_ends(path, stream, "sound", end, min(length, Fraction(seconds)))
        # Beside sound that is none: the resampler refuses what it does not know with a plain ValueError.
        except (av.FFmpegError, ValueError) as error:
            raise undecodable(path, "sound", end, length, error) from None
    return track.wave.reshape(seconds, sample_rate)


def _check_ends(
    path: Path, stream: av.VideoStream | av.AudioStream, what: str, end: Fraction, length: Fraction
) -> None:
    """Checks a stream that ended before the file does: that it is whole, and that the file lasts so long at all."""
    own = stream_duration(stream)
    if own is not None:
        check_whole(path, what, end, min(own, length))
    # Sound and picture may rightly last longer than the other.
    if falls_short(end, length):
        check_whole(path, what if own is None else "picture and sound", max(end, content_end(path)), length)


def _timed(
    decoded: Iterator[F], container: InputContainer, length: Callable[[F], Fraction | None]
) -> Iterator[tuple[F, Fraction, Fraction]]:
    """Decoded frames with their start and end, in seconds from the start of the file."""
    origin = Fraction(container.start_time or 0, av.time_base)
    end = Fraction(0)
    for frame in decoded:
        # A frame without a timestamp follows the one before.
        start = end if frame.pts is None else frame.pts * Fraction(frame.time_base or 0) - origin
        end = start + (length(frame) or 0)
        yield frame, start, end


def _sound_length(frame: av.AudioFrame) -> Fraction | None:
    return Fraction(frame.samples, frame.sample_rate) if frame.sample_rate > 0 else None


def _picture_length(stream: av.VideoStream) -> Callable[[av.VideoFrame], Fraction | None]:
    usual = 1 / stream.average_rate if stream.average_rate else None
    return lambda frame: frame.duration * Fraction(frame.time_base or 0) if frame.duration else usual


def _upright_rgb(frame: av.VideoFrame, size: tuple[int, int] | None) -> npt.NDArray[np.uint8]:
    quarters = round(frame.rotation / 90) % 4
    height, width = size or (None, None)
    if quarters % 2:
        height, width = width, height
    scaled = frame.reformat(width=width, height=height, format="rgb24", interpolation="BICUBIC")
    return np.ascontiguousarray(np.rot90(scaled.to_ndarray(), quarters))
