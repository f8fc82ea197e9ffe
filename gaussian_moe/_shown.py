"""What a layer shows of itself: the options that are not at their defaults."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn


def options(layer: nn.Module, defaults: Mapping[str, object]) -> str:
    """ ", name=value" for each of the layer's attributes that differs from its default."""
    given = {name: getattr(layer, name) for name in defaults}
    return "".join(f", {name}={value!r}" for name, value in given.items() if value != defaults[name])
