"""The preset `small`: every weight comes inside a Python package, so that nothing but the package index is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .base import EncodedText, EncodedVideo, Encoders, FeatureDims, Modality
from .small_audio import log_mel_statistics

if TYPE_CHECKING:
    from .small_text import TextEncoder
    from .small_vision import VisionEncoder

_FRAMES = 60
"""How many are held at a time: those of hours would take gigabytes."""


class SmallEncoders(Encoders):
    """EfficientNet-Lite0 for pictures, log-mel statistics for sound, MiniLM for words."""

    name = "small"
    dims = FeatureDims(audio=256, video=1280, patches=(7, 1288), question=384, words=384)
    folders: Mapping[Modality, str] = {
        "audio": "logmel",
        "video": "frame_efficientnet_lite0",
        "patches": "columns_efficientnet_lite0",
    }
    frame_size: tuple[int, int] | None = (224, 224)

    def encode_video(self, frames: Iterable[npt.NDArray[np.uint8]]) -> EncodedVideo:
        """Encodes T frames [H, W, 3] to video [T, 1280] and patches [T, 7, 1288]."""
        frames, video, patches = iter(frames), list[Tensor](), list[Tensor]()
        while batch := list(islice(frames, _FRAMES)):
            encoded = self._vision(torch.from_numpy(np.stack(batch)))
            video.append(encoded[0])
            patches.append(encoded[1])
        return EncodedVideo(torch.cat(video), torch.cat(patches))

    def encode_audio(self, waveform: npt.NDArray[np.float32]) -> Tensor:
        """Encodes seconds of sound [T, 16000] to [T, 256]."""
        return log_mel_statistics(torch.from_numpy(waveform))

    def encode_text(self, texts: Sequence[str]) -> EncodedText:
        """Encodes n texts to question [n, 384], words [n, L ≤ 24, 384] and their padding mask."""
        encoded: EncodedText = self._text(texts)
        return encoded

    # Each is imported and read when first used: extraction needs no text model, training no vision model.
    @cached_property
    def _vision(self) -> VisionEncoder:
        from .small_vision import VisionEncoder

        return VisionEncoder()

    @cached_property
    def _text(self) -> TextEncoder:
        from .small_text import TextEncoder

        return TextEncoder()
