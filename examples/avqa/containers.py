"""Opens video files and nothing else, and says how long they last: by their header, checked against what they hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition

from .errors import UserError
from .sample_tables import check_sample_tables

KINDS = "mp4, mov, m4v, mkv, webm, avi, ts, mpg, flv, wmv, ogv, mxf, gif"
# Playlists (HLS, DASH, concat, SDP) are left out: they would open other files and addresses. So are pictures and text.
_OPTIONS = {"format_whitelist": "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg,mxf,gif", "protocol_whitelist": "file"}
MOST_PIXELS = 8192 * 8192
"""Of one picture, twice those of 8K. A decoder keeps up to 17 pictures."""
MOST_HOURS = 6
"""How much of a file is read: an hour of sound takes 230 MB."""
SAMPLE_RATES = (1000, 768_000)
"""From, to: a header with other ones would make resampling take any amount of memory."""
# Headers of files of a lower bit rate (8 kbit/s) are checked at once: such a file is read in no time.
_BYTES_PER_SECOND = 1000
_CLOCK = re.compile(r"(\d{1,9}):(\d{1,2}):(\d{1,2}(?:\.\d{1,12})?)")


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """A video file to read from.

    Raises:
        UserError: no such file, or none that is read here.
    """
    check_file(path)
    try:
        # Without "file:" a name such as "12:30.mp4" or "concat:a.mp4" would be taken as an address.
        container = av.open(f"file:{path}", metadata_errors="ignore", options=_OPTIONS)
    except PermissionError:
        raise UserError(f"{path} may not be read; change its permissions") from None
    except av.ArgumentError:
        raise UserError(
            f"{path} is not a video of a kind that is read here ({KINDS}), or its header is damaged; convert it, for "
            "instance to mp4, or download it again"
        ) from None
    except av.FFmpegError as error:
        raise UserError(
            f"{path} is not a readable video ({error.strerror}): it is of another kind, or was cut off "
            "before its index was written; download or export it again"
        ) from None
    with container:
        yield container


def check_file(path: Path) -> None:
    """Looks at a file before any decoder does.

    Raises:
        UserError: there is none, it is empty, or it claims more than it can hold.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a video file")
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{path} is empty (0 bytes); download or export it again")
        check_sample_tables(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"no such file: {path}") from None
    except PermissionError:
        raise UserError(f"{path} may not be read; change its permissions") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); copy it elsewhere, or name another file") from None


def picture_stream(container: InputContainer, path: Path) -> av.VideoStream:
    """The first stream of moving pictures.

    Raises:
        UserError: there is none that can be decoded.
    """
    # The cover of an album is a video stream of one frame.
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise UserError(f"{path} has no picture stream; name a video, not a sound recording")
    stream = streams[0]
    if _has_no_decoder(stream):
        raise UserError(f"{path}: its picture is of an unknown codec; convert it, for instance to H.264 in mp4")
    if stream.width < 1 or stream.height < 1:
        raise UserError(f"{path} is damaged: its picture has no size; download or export it again")
    if stream.width * stream.height > MOST_PIXELS:
        raise UserError(
            f"{path}: its picture has {stream.width} × {stream.height} pixels, and at most {MOST_PIXELS:,} are read; "
            "scale it down"
        )
    # Pictures inside may be larger than the header says.
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
    # Without frame threads the decoder uses one core, so that one process a core shares a machine evenly.
    stream.codec_context.thread_count = 1
    return stream


def sound_stream(container: InputContainer, path: Path) -> av.AudioStream | None:
    """The first stream of sound, if there is any.

    Raises:
        UserError: it cannot be decoded.
    """
    if not container.streams.audio:
        return None
    stream = container.streams.audio[0]
    if _has_no_decoder(stream):
        raise UserError(f"{path}: its sound is of an unknown codec; convert it, for instance to AAC in mp4")
    if not SAMPLE_RATES[0] <= stream.sample_rate <= SAMPLE_RATES[1]:
        raise UserError(
            f"{path} is damaged: its sound has {stream.sample_rate} samples a second, "
            f"{SAMPLE_RATES[0]} to {SAMPLE_RATES[1]} can be read; download or export it again"
        )
    stream.codec_context.thread_count = 1
    return stream


def duration(container: InputContainer, path: Path) -> Fraction:
    """How long a file lasts, in seconds, as its header says.

    Raises:
        UserError: it has no length, or claims to last much longer than what it holds.
    """
    said = container.duration
    # Live recordings are written before their length is known.
    seconds = content_end(path) if said is None else Fraction(said, av.time_base)
    if seconds <= 0:
        raise UserError(f"{path} has no length: its header says {float(seconds):g} s; export the video again")
    start = Fraction(container.start_time or 0, av.time_base)
    if said is not None and falls_short(seconds - start, seconds):
        # Some headers say when a late file ends, not how long it lasts.
        end = content_end(path)
        seconds = end if falls_short(end, seconds) and not falls_short(end, seconds - start) else seconds
    if said is not None and seconds * _BYTES_PER_SECOND > path.stat().st_size:
        check_whole(path, "picture and sound", content_end(path), seconds)
    return seconds


def content_end(path: Path) -> Fraction:
    """The end of the last packet of any stream, in seconds from the start of the file."""
    end = Fraction(0)
    # Opened anew, so that the caller's container stays at its start.
    with opened(path) as container:
        origin = Fraction(container.start_time or 0, av.time_base)
        try:
            for packet in container.demux():
                if packet.pts is not None and packet.time_base is not None:
                    end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base - origin)
        except av.FFmpegError:
            # What follows cannot be read.
            pass
    return end


def stream_duration(stream: av.VideoStream | av.AudioStream) -> Fraction | None:
    """How long a stream lasts, in seconds, as the header says; None where it does not."""
    if stream.duration is not None and stream.time_base is not None:
        return stream.duration * stream.time_base
    # Matroska keeps each stream's duration as a tag, such as 00:00:29.960000000.
    clock = _CLOCK.match(stream.metadata.get("DURATION", ""))
    return clock and 3600 * int(clock[1]) + 60 * int(clock[2]) + Fraction(clock[3])


def check_length(path: Path, seconds: float) -> None:
    """Checks how many seconds are to be read.

    Raises:
        UserError: too many.
    """
    if seconds > 3600 * MOST_HOURS:
        raise UserError(
            f"{path}: {seconds / 3600:.1f} hours of it would be read, and at most {MOST_HOURS} hours are; cut it into "
            "shorter videos"
        )


def check_whole(path: Path, what: str, end: Fraction, expected: Fraction) -> None:
    """Checks that what was read until `end` is what the header says.

    Raises:
        UserError: much is missing.
    """
    if falls_short(end, expected):
        raise UserError(
            f"{path} is cut off: its header says {float(expected):.1f} s of {what}, but only {float(end):.1f} "
            "s can be read; download or export it again"
        )


def falls_short(end: Fraction, expected: Fraction) -> bool:
    """Whether much is missing: headers are off by up to a few frames, more in long files."""
    return expected - end > max(Fraction(1, 2), expected / 50)


def undecodable(path: Path, what: str, end: Fraction, expected: Fraction, error: Exception) -> UserError:
    """What to tell where decoding fails."""
    return UserError(
        f"{path} is damaged: its {what} can be read for {float(end):.1f} s of {float(expected):.1f} s only "
        f"({error}); download or export it again"
    )


def _has_no_decoder(stream: av.VideoStream | av.AudioStream) -> bool:
    # Declared as never None, and None where ffmpeg does not know the codec.
    context: object = stream.codec_context
    return context is None
