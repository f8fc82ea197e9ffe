"""What an encoder preset is: pictures, sound and words in, features out.

Letters: T frames (one a second), N patches of a frame, n texts, L words; Da, Dv, Dp, Dq, Dw feature widths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

Modality = Literal["audio", "video", "patches"]
MODALITIES: tuple[Modality, ...] = ("audio", "video", "patches")


class FeatureDims(NamedTuple):
    """Widths of a preset's features; `patches` is (N, Dp)."""

    audio: int
    video: int
    patches: tuple[int, int]
    question: int
    words: int


class EncodedVideo(NamedTuple):
    """What `encode_video` returns, float32."""

    video: Tensor  # [T, Dv]
    patches: Tensor  # [T, N, Dp]


class EncodedText(NamedTuple):
    """What `encode_text` returns, float32."""

    question: Tensor  # [n, Dq]
    words: Tensor  # [n, L, Dw], zero where there is no word
    padding_mask: Tensor  # [n, L] bool, True = no word here


class Encoders(Protocol):
    """The encoders of one preset. Weights are read when first needed; nothing is trained."""

    name: str
    dims: FeatureDims
    folders: Mapping[Modality, str]
    """The feature folder of each modality."""
    frame_size: tuple[int, int] | None
    """(height, width) at which the pictures are looked at: read them so to save memory; None for any."""

    def encode_video(self, frames: npt.NDArray[np.uint8]) -> EncodedVideo:
        """Encodes frames [T, H, W, 3], RGB."""

    def encode_audio(self, waveform: npt.NDArray[np.float32]) -> Tensor:
        """Encodes seconds of sound [T, 16000], 16 kHz, in [-1, 1], to [T, Da]."""

    def encode_text(self, texts: Sequence[str]) -> EncodedText:
        """Encodes n texts, for instance questions."""
