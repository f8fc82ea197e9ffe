"""What an encoder preset is: pictures, sound and words in, features out.

Letters: T frames (one a second), N patches of a frame, n texts, L words; Da, Dv, Dp, Dq, Dw feature widths.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Modality = Literal["audio", "video", "patches"]
Purpose = Literal["clips", "texts"]
"""What is to be encoded: videos, or questions."""
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
    """(height, width) at which the pictures are looked at: read them so to save memory; None wants them whole."""
    seconds: int | None = None
    """How many seconds of a clip are encoded where nothing else is said: longer clips are cut, shorter ones padded by
    their last second; None takes clips as they are."""
    on_gpu: bool = False
    """Whether a GPU is used where there is one."""
    weights_at_hand: bool = True
    """Whether the weights are known without asking the hub."""
    words_dtype: torch.dtype = torch.float32
    """In which precision encoded words are kept."""

    def weights_id(self, purpose: Purpose) -> str:
        """Tells the weights for a purpose from others; finds or downloads them. "" where there is one kind only.

        Raises:
            UserError: weights are missing; all of them are named.
        """
        return ""

    def encode_video(self, frames: Iterable[npt.NDArray[np.uint8]]) -> EncodedVideo:
        """Encodes T frames [H, W, 3], RGB; each is let go as soon as it is encoded."""

    def encode_audio(self, waveform: npt.NDArray[np.float32]) -> Tensor:
        """Encodes seconds of sound [T, 16000], 16 kHz, in [-1, 1], to [T, Da]."""

    def encode_text(self, texts: Sequence[str]) -> EncodedText:
        """Encodes n texts, for instance questions."""
