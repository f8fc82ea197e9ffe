"""Videos of extreme kinds, each with its right result."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.examples.tiny_videos import write_video

from .box_edits import box, with_body
from .video_writer import Picture, Sound, steady, tone, write

S = Fraction(1)


@dataclass(frozen=True)
class Kind:
    """One file, and what reading it gives."""

    write: Callable[[Path], Path]
    """Given a path without suffix."""
    seconds: Sequence[int] = ()
    """Which second's grey each frame of the result has; empty where that is not looked at."""
    amplitudes: Sequence[float] | None = None
    """Of the sine in each second, 0 for silence; None for a file without sound."""
    size: tuple[int, int] | None = (32, 48)
    """(height, width) of the frames; None where it is not looked at."""
    error: str | None = None
    """What the error says, where there is one in place of a result."""
    peak_mb: int = 256
    """The most memory that reading may take, of the whole process."""
    read_size: tuple[int, int] | None = None
    """To which size frames are scaled while they are read."""
    white: tuple[int, int] | None = None
    """Which corner alone is white: (0, 0) is at the top left."""
    encoded: bool = False
    """Whether it is encoded, too, by preset small."""
    slack: float = 0.02
    """How far an amplitude may be off, and a grey over 10: codecs lose a little."""


def _sine(count: int) -> list[float]:
    return [0.1 * (1 + second % 5) for second in range(count)]


def _plain(suffix: str, picture: Picture | None, *sounds: Sound, **options: object) -> Callable[[Path], Path]:
    return lambda path: write(path.with_suffix(suffix), picture, sounds, **options)  # type: ignore[arg-type]  # of several


def _picture(seconds: float = 3, **options: object) -> Picture:
    return Picture(steady(seconds), **options)  # type: ignore[arg-type]  # of several types


def _ffv1(pixels: str, size: tuple[int, int] = (32, 48)) -> Picture:
    return Picture(steady(3), size, "ffv1", pixels, Fraction(1, 5))


def _sound(seconds: float = 3, rate: int = 16000, layout: str = "mono", codec: str = "pcm_s16le") -> Sound:
    channels = {"mono": 1, "stereo": 2, "5.1": 6, "7.1": 8, "hexadecagonal": 16}[layout]
    return Sound([(Fraction(0), tone(seconds, rate, channels))], rate, layout, codec)


def _samples(samples: npt.NDArray[np.floating[Any]], codec: str = "pcm_f32le", rate: int = 16000) -> Sound:
    return Sound([(Fraction(0), samples[None].astype(np.float32))], rate, codec=codec)


def _patched(writer: Callable[[Path], Path], change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def patched(path: Path) -> Path:
        written = writer(path)
        written.write_bytes(change(written.read_bytes()))
        return written

    return patched


def _matroska_duration(seconds: float) -> Callable[[bytes], bytes]:
    """Another Duration, of 8 bytes, in milliseconds."""

    def change(content: bytes) -> bytes:
        at = content.index(b"\x44\x89\x88") + 3
        return content[:at] + struct.pack(">d", 1000 * seconds) + content[at + 8 :]

    return change


def _duration_tags(text: bytes) -> Callable[[bytes], bytes]:
    """Another text in the DURATION tags of all streams."""
    return lambda content: re.sub(rb"00:00:0\d\.\d{9}", text.ljust(18, b"\0")[:18], content)


def _mp4_durations(value: int) -> Callable[[bytes], bytes]:
    """Another number of ticks in the heads of the file, its first track and its content."""

    def change(content: bytes) -> bytes:
        for name, at in ((b"mvhd", 16), (b"tkhd", 20), (b"mdhd", 16), (b"elst", 8)):
            at += box(content, name).body
            content = content[:at] + struct.pack(">I", value) + content[at + 4 :]
        return content

    return change


def _vp8_size(width: int, height: int, which: int = 0) -> Callable[[bytes], bytes]:
    """Another size in one of VP8's key frames."""

    def change(content: bytes) -> bytes:
        at = -1
        for _ in range(which + 1):
            at = content.index(b"\x9d\x01\x2a", at + 1)
        return content[: at + 3] + struct.pack("<HH", width, height) + content[at + 7 :]

    return change


def _mp4_picture_size(width: int, height: int) -> Callable[[bytes], bytes]:
    """Another size in the description of a track."""

    def change(content: bytes) -> bytes:
        at = content.index(b"mp4v", content.index(b"stsd")) + 28
        return content[:at] + struct.pack(">HH", width, height) + content[at + 4 :]

    return change


def _unfolding(content: bytes) -> bytes:
    """A sample table that stands for 20 million samples of one byte."""
    count = 20_000_000
    for name, numbers in ((b"stsz", (0, 1, count)), (b"stsc", (0, 1, 1, count, 1)), (b"stts", (0, 1, count, 1))):
        content = with_body(content, box(content, name), struct.pack(f">{len(numbers)}I", *numbers))
    return content


def _unfolding_fragment(content: bytes) -> bytes:
    """A fragment of 20 million samples that have nothing of their own."""
    return with_body(content, box(content, b"trun"), struct.pack(">2I", 0, 20_000_000))


def _unfolding_chunks(content: bytes) -> bytes:
    """50 chunks of half a billion samples of sound each."""
    tables = {
        b"stsz": (0, 1, 2**31 - 1),
        b"stco": (0, 50, *[48] * 50),
        b"stsc": (0, 1, 1, 500_000_000, 1),
        b"stts": (0, 1, 2**31 - 1, 1),
    }
    for name, numbers in tables.items():
        content = with_body(content, box(content, name, 1), struct.pack(f">{len(numbers)}I", *numbers))
    return content


def _two_sizes(path: Path) -> Path:
    """A stream whose pictures become larger on the way."""
    first = write(path.with_name("first.ts"), _picture(2))
    times = [time + 2 for time in steady(2)]
    second = write(path.with_name("second.ts"), Picture(times, (64, 96)))
    joined = path.with_suffix(".ts")
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    return joined


def _becomes_stereo(path: Path) -> Path:
    """Sound that becomes stereo, of another rate, on the way."""
    first = write(path.with_name("first.ts"), _picture(2, options={"bf": "0"}), [_sound(2, codec="mp2")])
    late = Sound([(2 * S, tone(2, 32000, 2))], 32000, "stereo", "mp2")
    second = write(path.with_name("second.ts"), Picture([time + 2 for time in steady(2)], options={"bf": "0"}), [late])
    joined = path.with_suffix(".ts")
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    return joined


_TINY_H264 = {"preset": "ultrafast", "qp": "0"}
_SQUARE = np.sign(np.sin(2 * np.pi * 100 * (np.arange(48000) + 0.5) / 16000))
_MKV = _plain(".mkv", _picture(), _sound())
_SHORT_SOUND = _plain(".mkv", _picture(), _sound(2))
_HOURS = 3 * 3600
_THREE = _plain(
    ".mkv",
    Picture([10 * S * i for i in range(_HOURS // 10)], (16, 16), fps=S / 10),
    Sound([(Fraction(0), tone(2)), (Fraction(_HOURS - 2), tone(2))]),
)
_FIRST_AND_LAST = [0.1, 0.2, *[0.0] * (_HOURS - 4), 0.1, 0.2]

KINDS: dict[str, Kind] = {
    "no frames": Kind(_plain(".mkv", Picture([]), _sound()), error="no frames"),
    "1 x 1": Kind(_plain(".mkv", _ffv1("bgr0", (1, 1))), (0, 1, 2), size=(1, 1)),
    "2 x 2": Kind(_plain(".mp4", _picture(size=(2, 2), options=_TINY_H264)), (0, 1, 2), size=(2, 2)),
    "odd size": Kind(_plain(".mp4", _picture(size=(47, 65), pixels="yuv444p")), (0, 1, 2), size=(47, 65)),
    "4000 rows of 2": Kind(_plain(".mkv", _picture(size=(4000, 2))), (0, 1, 2), size=(4000, 2)),
    "8K": Kind(
        _plain(".mp4", Picture(steady(2, S), (4320, 7680), fps=S, options={"preset": "ultrafast"})),
        (0, 1),
        size=(224, 224),
        read_size=(224, 224),
        peak_mb=640,
    ),
    "8K whole": Kind(
        _plain(".mp4", Picture(steady(1, S), (4320, 7680), codec="mjpeg", pixels="yuvj420p", fps=S)),
        (0,),
        size=(4320, 7680),
        peak_mb=640,
    ),
    "12K from the first key frame on": Kind(
        _patched(_plain(".webm", _picture(codec="libvpx")), _vp8_size(11520, 6480)), error="damaged: its picture"
    ),
    "12K in the header alone": Kind(
        _patched(_plain(".mp4", _picture(codec="mpeg4", clock=Fraction(1, 5))), _mp4_picture_size(11520, 6480)),
        (0, 1, 2),
    ),
    "12K from the second key frame on": Kind(
        _patched(_plain(".webm", _picture(codec="libvpx", options={"g": "1"})), _vp8_size(11520, 6480, 1)),
        error="damaged: its picture",
    ),
    "0.01 s": Kind(_plain(".mkv", Picture([Fraction(0)], fps=100 * S)), (0,)),
    "500 frames a second": Kind(
        _plain(".mkv", Picture(steady(2, 500 * S), (16, 16), fps=500 * S, options={"preset": "ultrafast"})),
        (0, 1),
        size=(16, 16),
    ),
    "a frame every 7 seconds": Kind(
        _plain(".mp4", Picture([7 * S * i for i in range(5)], fps=S / 7)), [i // 7 * 7 for i in range(35)]
    ),
    "variable frame rate": Kind(
        _plain(".mkv", Picture([Fraction(0), S / 2, S, 2 * S + S / 3, 2 * S + S / 2, 4 * S, 5 * S - S / 5])),
        (0, 1, 2, 2, 4),
    ),
    "three hours": Kind(_THREE, [i // 10 * 10 for i in range(_HOURS)], _FIRST_AND_LAST, size=(16, 16)),
    "three hours, encoded": Kind(
        _THREE, [i // 10 * 10 for i in range(_HOURS)], _FIRST_AND_LAST, size=(16, 16), encoded=True, peak_mb=2048
    ),
    "seven hours": Kind(
        _plain(".mkv", Picture([600 * S * i for i in range(42)], (16, 16), fps=S / 600)),
        error="7.0 hours of it would be read",
    ),
    "silence": Kind(_plain(".mkv", _picture(), _samples(np.zeros(48000))), (0, 1, 2), (0, 0, 0), slack=0),
    "full-scale square wave": Kind(
        _plain(".mkv", _picture(), _samples(_SQUARE, "pcm_s16le")), (0, 1, 2), (2**0.5,) * 3, slack=1e-3
    ),
    "float sound of 4 times full scale": Kind(
        _plain(".mkv", _picture(), _samples(4 * _SQUARE)), (0, 1, 2), (4 * 2**0.5,) * 3, slack=1e-3
    ),
    "sound that is no number": Kind(
        _plain(".mkv", _picture(), _samples(np.where(np.arange(48000) == 20000, np.nan, 0.0))),
        error="damaged: its sound.*no numbers",
    ),
    "sound that is infinite": Kind(
        _plain(".mkv", _picture(), _samples(np.where(np.arange(48000) == 20000, np.inf, 0.0))),
        error="damaged: its sound.*no numbers",
    ),
    "sound outlasts picture": Kind(_plain(".mkv", _picture(2), _sound(5)), (0, 1, 1, 1, 1), _sine(5)),
    "picture outlasts sound": Kind(_plain(".mp4", _picture(5), _sound(2, codec="aac")), range(5), (0.1, 0.2, 0, 0, 0)),
    "sound alone": Kind(_plain(".mp4", None, _sound(codec="aac")), error="no picture stream"),
    "picture alone": Kind(_plain(".mp4", _picture()), (0, 1, 2)),
    "sound with a gap": Kind(
        _plain(".mkv", _picture(6), Sound([(Fraction(0), tone(2)), (4 * S, tone(2))])),
        range(6),
        (0.1, 0.2, 0, 0, 0.1, 0.2),
    ),
    "sound that becomes stereo": Kind(_becomes_stereo, range(4), (0.1, 0.2, 0.1, 0.2), slack=0.03),
    "pictures that become larger": Kind(_two_sizes, (0, 1, 2, 3)),
    "starts before 0": Kind(
        _plain(".mkv", _picture(), _sound(), shift=Fraction(-1, 2), options={"avoid_negative_ts": "disabled"}),
        (0, 1, 2),
        _sine(3),
    ),
    "starts after an hour": Kind(_plain(".ts", _picture(), _sound(codec="mp2"), shift=3600 * S), (0, 1, 2), _sine(3)),
    "starts after an hour (mkv)": Kind(_plain(".mkv", _picture(), _sound(), shift=3600 * S), (0, 1, 2), _sine(3)),
    "clock of 33 bits overflows": Kind(
        _plain(".ts", _picture(4), _sound(4, codec="mp2"), shift=Fraction(2**33, 90000) - 2), range(4), _sine(4)
    ),
    "10 bits": Kind(_plain(".mkv", _ffv1("yuv420p10le")), (0, 1, 2)),
    "16 bits of grey": Kind(_plain(".mkv", _ffv1("gray16le")), (0, 1, 2)),
    "grey": Kind(_plain(".mkv", _ffv1("gray")), (0, 1, 2)),
    "4:4:4": Kind(_plain(".mkv", _picture(pixels="yuv444p")), (0, 1, 2)),
    "RGB": Kind(_plain(".mkv", _ffv1("bgr0")), (0, 1, 2)),
    "alpha": Kind(_plain(".mkv", _ffv1("yuva420p")), (0, 1, 2)),
    "full range": Kind(_plain(".avi", _picture(codec="mjpeg", pixels="yuvj420p", clock=Fraction(1, 5))), (0, 1, 2)),
    "interlaced": Kind(
        _plain(".mkv", _picture(options={"flags": "+ilme+ildct", "x264-params": "interlaced=1"})), (0, 1, 2)
    ),
    "bitmapped subtitles": Kind(_plain(".mkv", _picture(), _sound(), subtitle="dvdsub"), (0, 1, 2), _sine(3)),
    "several streams of sound": Kind(
        _plain(".mkv", _picture(), _sound(), _samples(np.zeros(48000)), _samples(_SQUARE)), (0, 1, 2), _sine(3)
    ),
    "header times 10": Kind(_patched(_MKV, _matroska_duration(30)), error="cut off: its header says 30.0 s"),
    "header times 1000": Kind(_patched(_MKV, _matroska_duration(3000)), error="cut off: its header says 3000.0 s"),
    "header of 10,000 hours": Kind(
        _patched(_MKV, _matroska_duration(3.6e7)), error="cut off: its header says 36000000.0"
    ),
    "header below 0": Kind(_patched(_MKV, _matroska_duration(-3)), error="no length"),
    "header of 600 hours (mp4)": Kind(_patched(_plain(".mp4", _picture()), _mp4_durations(2**31 - 1)), (0, 1, 2)),
    "tag of 10^99999999 seconds": Kind(
        _patched(_SHORT_SOUND, _duration_tags(b"00:00:1e99999999")), (0, 1, 2), (0.1, 0.2, 0)
    ),
    "tag of 1/0 seconds": Kind(_patched(_SHORT_SOUND, _duration_tags(b"00:00:1/0")), (0, 1, 2), (0.1, 0.2, 0)),
    "20 million samples in a table": Kind(_patched(_plain(".mp4", _picture()), _unfolding), error="more than its"),
    "20 million samples in a fragment": Kind(
        _patched(_plain(".mp4", _picture(), options={"movflags": "frag_keyframe+empty_moov"}), _unfolding_fragment),
        error="more than its",
    ),
    "25 billion samples in chunks": Kind(
        _patched(_plain(".mp4", _picture(), _sound(codec="aac")), _unfolding_chunks), error="more than its"
    ),
}
for _degrees, _corner in ((90, (1, 0)), (180, (1, 1)), (270, (0, 1))):
    # Marked at the top left, to be turned anticlockwise.
    KINDS[f"turned by {_degrees} degrees"] = Kind(
        lambda path, degrees=_degrees: write_video(path.with_suffix(".mp4"), tone=None, rotation=degrees),  # type: ignore[misc]  # a default binds the value
        size=(48, 64) if _degrees == 180 else (64, 48),
        white=_corner,
    )
for _rate in (1000, 7350, 8000, 11025, 22050, 32000, 44100, 48000, 96000, 192000, 384000):
    KINDS[f"{_rate} samples a second"] = Kind(_plain(".mkv", _picture(), _sound(3, _rate)), (0, 1, 2), _sine(3))
for _rate in (7350, 96000):
    KINDS[f"AAC of {_rate} samples a second"] = Kind(
        _plain(".mp4", _picture(), _sound(3, _rate, codec="aac")), (0, 1, 2), _sine(3)
    )
for _layout in ("stereo", "5.1", "7.1", "hexadecagonal"):
    KINDS[f"{_layout} sound"] = Kind(_plain(".mkv", _picture(), _sound(3, 48000, _layout)), (0, 1, 2), _sine(3))
