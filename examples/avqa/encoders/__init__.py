"""Encoders, by the name of their preset."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import UserError
from .base import (
    MODALITIES,
    EncodedText,
    EncodedVideo,
    Encoders,
    FeatureDims,
    Modality,
)
from .small import SmallEncoders

__all__ = ["MODALITIES", "EncodedText", "EncodedVideo", "Encoders", "FeatureDims", "Modality", "load_encoders"]

_PRESETS: dict[str, Callable[[], Encoders]] = {"small": SmallEncoders}


def load_encoders(name: str) -> Encoders:
    """The encoders of the preset `name`.

    Raises:
        UserError: there is no such preset.
    """
    if name not in _PRESETS:
        raise UserError(f"unknown encoder preset {name!r}; known presets: {', '.join(sorted(_PRESETS))}")
    return _PRESETS[name]()
