"""One video file as features: its pictures and its sound, second by second.

T seconds, N patches of a frame; Da, Dv, Dp feature widths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from .containers import check_length
from .encoders import Encoders
from .media import each_frame, probe, read_audio, whole_seconds

F = TypeVar("F")

SAMPLE_RATE = 16000
_SOUND_S = 60
"""How many seconds are encoded at a time: the spectrograms of hours would take gigabytes."""


class Length(NamedTuple):
    """How long features are; by default as long as the clip."""

    seconds: int | None = None
    """Longer clips are cut to this, shorter ones padded; None takes clips as they are."""
    keep_long: bool = False
    """Whether longer clips are kept whole."""

    @property
    def most(self) -> int | None:
        """To how many seconds clips are cut."""
        return None if self.keep_long else self.seconds

    def of(self, path: Path, duration: float) -> int:
        """How many seconds of a clip of `duration` seconds are read.

        Raises:
            UserError: too many, see `containers.MOST_HOURS`; the message names `path`.
        """
        frames = whole_seconds(duration)
        frames = frames if self.most is None else min(frames, self.most)
        check_length(path, frames)
        return frames


class ClipFeatures(NamedTuple):
    """The features of one video file, float32."""

    audio: Tensor  # [T, Da]
    video: Tensor  # [T, Dv]
    patches: Tensor  # [T, N, Dp]
    frames: int
    """How many of the T frames are real: the first ones; the others repeat the last."""
    duration: float
    """Of the file, in seconds."""
    silent: bool
    """Whether the file has no sound; `audio` is then that of silence."""


def encode_clip(
    path: Path,
    encoders: Encoders,
    length: Length = Length(),  # noqa: B008  # frozen
    on_frame: Callable[[int, int], None] | None = None,
) -> ClipFeatures:
    """Encodes one video file, one frame a second.

    A last second of which less than half is there is left out, else its sound is filled up with silence, see
    `media.whole_seconds`; a clip has one second at least. Padding repeats the last second's features.

    Args:
        path: a video file.
        encoders: the encoders.
        length: what to cut and to pad.
        on_frame: told how many frames are read, and of how many.

    Raises:
        UserError: the file is missing, damaged or no video.
    """
    duration = probe(path).duration
    frames = length.of(path, duration)
    pictures = each_frame(path, size=encoders.frame_size, most=frames)
    video, patches = encoders.encode_video(_told(pictures, frames, on_frame) if on_frame else pictures)
    waveform = read_audio(path, SAMPLE_RATE, seconds=frames)
    silent = waveform is None
    if waveform is None:
        waveform = np.zeros((frames, SAMPLE_RATE), dtype=np.float32)
    audio = torch.cat([encoders.encode_audio(waveform[i : i + _SOUND_S]) for i in range(0, frames, _SOUND_S)])
    missing = max((length.seconds or 0) - frames, 0)
    audio, video, patches = (_padded(rows, missing) for rows in (audio, video, patches))
    return ClipFeatures(audio, video, patches, frames, duration, silent)


def _told(frames: Iterator[F], count: int, on_frame: Callable[[int, int], None]) -> Iterator[F]:
    """The frames, each told once it is taken."""
    for number, frame in enumerate(frames, start=1):
        on_frame(number, count)
        yield frame


def _padded(rows: Tensor, missing: int) -> Tensor:
    """The last of the rows [T, ...] repeated `missing` times more."""
    return torch.cat((rows, rows[-1:].expand(missing, *rows.shape[1:]))) if missing else rows
