"""Reads pictures and sound of a video file at exact times, in seconds from the start of the file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.stream import Disposition

from .errors import UserError

F = TypeVar("F", av.VideoFrame, av.AudioFrame)

# Containers round timestamps (Matroska to 1 ms): a frame at 0.5 s may say 0.501 s.
_TIMESTAMP_SLACK = Fraction(1, 1000)
# ffmpeg opens still pictures and text as video, too.
_NOT_VIDEO_FORMATS = ("_pipe", "image2", "tty")


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
        UserError: no such file, not a readable video, no picture stream, or no duration.
    """
    with _opened(path) as container:
        picture = _picture_stream(container, path)
        sound = container.streams.audio[0] if container.streams.audio else None
        return MediaInfo(
            duration=float(_duration(container, path)),
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

    Where the last interval ends before its middle, the last frame of the clip is taken.

    Args:
        path: a video file.
        frames_per_second: how many frames are read for each second of the clip.
        size: (height, width) to which the whole picture is scaled, antialiased; None keeps its own size.
        most: how many frames are read at most; the rest of the file is not looked at.

    Yields:
        [H, W, 3] uint8, RGB, upright, `whole_seconds(duration, frames_per_second)` times or `most` times.

    Raises:
        UserError: as `probe`; or the picture ends long before the header says, or cannot be decoded.
    """
    with _opened(path) as container:
        stream = _picture_stream(container, path)
        # Without frame threads the decoder uses one core, so that one process a core shares a machine evenly.
        stream.codec_context.thread_count = 1
        duration = _duration(container, path)
        step = 1 / Fraction(frames_per_second)
        count = whole_seconds(float(duration), frames_per_second)
        middles = [(i + Fraction(1, 2)) * step for i in range(count if most is None else min(count, most))]
        done = 0
        picture_length = _picture_length(stream)
        on_screen: av.VideoFrame | None = None
        converted: av.VideoFrame | None = None
        end = Fraction(0)
        try:
            for frame, start, stop in _timed(container.decode(stream), container, picture_length):
                end = stop
                while done < len(middles) and start > middles[done] + _TIMESTAMP_SLACK:
                    shown = on_screen or frame
                    if shown is not converted:
                        picture, converted = _upright_rgb(shown, size), shown
                    yield picture
                    done += 1
                on_screen = frame
                if done == len(middles):
                    break
        except av.FFmpegError as error:
            raise _undecodable(path, "picture", end, duration, error) from None
        if on_screen is None:
            raise UserError(f"{path} has no frames: its picture stream is empty; export the video again")
        if done < len(middles):
            expected = _stream_duration(stream)
            if expected is None:
                # Sound may rightly last longer than the picture: the file is whole if any stream reaches its end.
                expected, end = duration, max(end, _packets_end(path))
            _check_whole(path, "picture", end, expected)
            picture = _upright_rgb(on_screen, size)
            yield from [picture] * (len(middles) - done)


def read_audio(path: Path, sample_rate: int = 16000, seconds: int | None = None) -> npt.NDArray[np.float32] | None:
    """Reads the sound, the mean of all channels, in whole seconds.

    Args:
        path: a video file.
        sample_rate: samples a second of the result.
        seconds: how many seconds to return; by default `whole_seconds(duration)`.

    Returns:
        [T, sample_rate] float32 in about [-1, 1], zero where there is no sound; None without a sound stream.

    Raises:
        UserError: as `probe`; or the sound ends long before the header says, or cannot be decoded.
    """
    with _opened(path) as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1
        duration = _duration(container, path)
        seconds = whole_seconds(float(duration)) if seconds is None else seconds
        wave = np.zeros(seconds * sample_rate, dtype=np.float32)
        # The channels are averaged here: ffmpeg's own mix to mono makes stereo louder by 3 dB, beyond [-1, 1].
        resampler = av.AudioResampler(format="fltp", rate=sample_rate)
        cursor: int | None = None
        end = Fraction(0)
        try:
            for frame, start, stop in _timed(container.decode(stream), container, _sound_length):
                end = stop
                cursor = round(start * sample_rate) if cursor is None else cursor
                for piece in resampler.resample(frame):
                    cursor = _place(wave, piece.to_ndarray().mean(axis=0), cursor)
                if cursor >= len(wave):
                    break
            else:
                if cursor is not None:
                    for piece in resampler.resample(None):
                        cursor = _place(wave, piece.to_ndarray().mean(axis=0), cursor)
                _check_whole(path, "sound", end, _stream_duration(stream) or Fraction(0))
        # The resampler refuses a stream whose layout or rate changes on the way with a plain ValueError.
        except (av.FFmpegError, ValueError) as error:
            raise _undecodable(path, "sound", end, duration, error) from None
    return wave.reshape(seconds, sample_rate)


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a video file")
    if not path.exists():
        raise UserError(f"no such file: {path}")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty (0 bytes); download or export it again")
    try:
        container = av.open(str(path), metadata_errors="ignore")
    except PermissionError:
        raise UserError(f"{path} may not be read; change its permissions") from None
    except av.FFmpegError as error:
        raise UserError(
            f"{path} is not a readable video ({error.strerror}): it is of another kind, or was cut off "
            "before its index was written; download or export it again"
        ) from None
    with container:
        if container.format.name.endswith(_NOT_VIDEO_FORMATS):
            raise UserError(f"{path} is not a video: it was recognised as {container.format.name}")
        yield container


def _picture_stream(container: InputContainer, path: Path) -> av.VideoStream:
    # The cover of an album is a video stream of one frame.
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise UserError(f"{path} has no picture stream; name a video, not a sound recording")
    return streams[0]


def _duration(container: InputContainer, path: Path) -> Fraction:
    said = container.duration
    # Live recordings are written before their length is known.
    duration = _packets_end(path) if said is None else Fraction(said, av.time_base)
    if duration <= 0:
        raise UserError(f"{path} has no length: its header says {float(duration):g} s; export the video again")
    return duration


def _packets_end(path: Path) -> Fraction:
    """The end of the last packet of any stream, in seconds from the start of the file."""
    end = Fraction(0)
    # Opened anew, so that the caller's container stays at its start.
    with av.open(str(path), metadata_errors="ignore") as container:
        origin = Fraction(container.start_time or 0, av.time_base)
        for packet in container.demux():
            if packet.pts is not None and packet.time_base is not None:
                end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base - origin)
    return end


def _stream_duration(stream: av.VideoStream | av.AudioStream) -> Fraction | None:
    if stream.duration is not None and stream.time_base is not None:
        return stream.duration * stream.time_base
    # Matroska keeps each stream's duration as a tag, such as 00:00:29.960000000.
    parts = stream.metadata.get("DURATION", "").split(":")
    try:
        hours, minutes, seconds = (Fraction(part) for part in parts)
    except ValueError:
        return None
    return 3600 * hours + 60 * minutes + seconds


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


def _sound_length(frame: av.AudioFrame) -> Fraction:
    return Fraction(frame.samples, frame.sample_rate)


def _picture_length(stream: av.VideoStream) -> Callable[[av.VideoFrame], Fraction | None]:
    usual = 1 / stream.average_rate if stream.average_rate else None
    return lambda frame: frame.duration * Fraction(frame.time_base or 0) if frame.duration else usual


def _upright_rgb(frame: av.VideoFrame, size: tuple[int, int] | None) -> npt.NDArray[np.uint8]:
    quarters = (frame.rotation // 90) % 4
    height, width = size or (None, None)
    if quarters % 2:
        height, width = width, height
    scaled = frame.reformat(width=width, height=height, format="rgb24", interpolation="BICUBIC")
    return np.ascontiguousarray(np.rot90(scaled.to_ndarray(), quarters))


def _place(wave: npt.NDArray[np.float32], samples: npt.NDArray[np.float32], start: int) -> int:
    """Writes `samples` from `start` on, drops what lies outside of `wave`; returns the index after them."""
    stop = start + len(samples)
    first, last = max(start, 0), min(stop, len(wave))
    if first < last:
        wave[first:last] = samples[first - start : last - start]
    return stop


def _check_whole(path: Path, what: str, end: Fraction, expected: Fraction) -> None:
    # Headers are off by up to a few frames, more in long files.
    if expected - end > max(Fraction(1, 2), expected / 50):
        raise UserError(
            f"{path} is cut off: its header says {float(expected):.1f} s of {what}, but only {float(end):.1f} "
            "s can be read; download or export it again"
        )


def _undecodable(path: Path, what: str, end: Fraction, expected: Fraction, error: Exception) -> UserError:
    return UserError(
        f"{path} is damaged: its {what} can be read for {float(end):.1f} s of {float(expected):.1f} s only "
        f"({error}); download or export it again"
    )
