"""Encoders, by the name of their preset."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from .base import (
    MODALITIES,
    EncodedText,
    EncodedVideo,
    Encoders,
    FeatureDims,
    Modality,
    Purpose,
)
from .paper import PaperEncoders
from .small import SmallEncoders

__all__ = [
    "MODALITIES",
    "EncodedText",
    "EncodedVideo",
    "Encoders",
    "FeatureDims",
    "Modality",
    "Purpose",
    "load_encoders",
]

PRESETS = ("paper", "small")


def load_encoders(name: str, weights: Path | None = None, device: str = "auto") -> Encoders:
    """The encoders of a preset.

    Args:
        name: "small" or "paper".
        weights: for `paper`, a local folder of weights, see `PaperEncoders`; None takes the hub's.
        device: for `paper`, where it computes: "cpu", "cuda:1" ...; "auto" is a GPU if there is one. `small` is made
            for processors.

    Raises:
        UserError: there is no such preset, or it takes no weights.
    """
    if name == "paper":
        return PaperEncoders(weights, device)
    if name != "small":
        raise UserError(f"unknown encoder preset {name!r}; known presets: {', '.join(PRESETS)}")
    if weights is not None:
        raise UserError(f"weights: preset small brings its own; leave out {weights}, or choose preset paper")
    return SmallEncoders()
