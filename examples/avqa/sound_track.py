"""Puts decoded sound at its times: other rates and channels, gaps, and what begins late."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt

from .containers import SAMPLE_RATES

_GAP = Fraction(1, 10)
"""Smaller steps between frames are the rounding of timestamps, in seconds."""
_LOUDEST = 1e6
"""Of full scale. Beyond it, powers overflow float32 a little later."""


class SoundTrack:
    """A whole number of seconds of sound, silent where nothing is put.

    Args:
        seconds: of sound.
        sample_rate: samples a second.
    """

    def __init__(self, seconds: int, sample_rate: int) -> None:
        # Silence takes no memory: pages of zeros are given when they are written.
        self.wave: npt.NDArray[np.float32] = np.zeros(seconds * sample_rate, dtype=np.float32)
        self.full = False
        """Whether what follows lies behind the end."""
        self._rate = sample_rate
        self._resampler: av.AudioResampler | None = None
        self._kind: tuple[str, int, str] | None = None
        self._cursor = 0
        self._expected = Fraction(0)

    def put(self, frame: av.AudioFrame, start: Fraction) -> None:
        """Adds a frame that begins at `start`, in seconds.

        Raises:
            ValueError: the frame holds no sound that can be used.
            av.FFmpegError: likewise.
        """
        if not SAMPLE_RATES[0] <= frame.sample_rate <= SAMPLE_RATES[1]:
            raise ValueError(f"{frame.sample_rate} samples a second")
        kind = (frame.format.name, frame.sample_rate, frame.layout.name)
        jumps = abs(start - self._expected) > _GAP
        if self._resampler is None or jumps or kind != self._kind:
            # Broadcasts change from stereo to surround, and dropped packets leave gaps.
            self.end()
            # The channels are averaged here: ffmpeg's own mix to mono makes stereo louder by 3 dB, beyond [-1, 1]. They
            # lie side by side: PyAV crashes where 8 or more lie one behind the other.
            self._resampler, self._kind = av.AudioResampler(format="flt", rate=self._rate), kind
            self._cursor = round(start * self._rate)
        self._expected = start + Fraction(frame.samples, frame.sample_rate)
        for piece in self._resampler.resample(frame):
            self._place(piece)
        # A damaged timestamp may send one frame far away: the next one shows.
        self.full = self._cursor >= len(self.wave) and not jumps

    def end(self) -> None:
        """Adds what the resampler still holds."""
        if self._resampler is not None:
            for piece in self._resampler.resample(None):
                self._place(piece)
        self._resampler = None

    def _place(self, piece: av.AudioFrame) -> None:
        samples: npt.NDArray[np.float32] = piece.to_ndarray().reshape(-1, piece.layout.nb_channels).mean(axis=1)
        # Not-a-number compares as False.
        if not (np.abs(samples) <= _LOUDEST).all():
            raise ValueError("samples that are no numbers, or a million times too loud")
        stop = self._cursor + len(samples)
        first, last = max(self._cursor, 0), min(stop, len(self.wave))
        if first < last:
            self.wave[first:last] = samples[first - self._cursor : last - self._cursor]
        self._cursor = stop
