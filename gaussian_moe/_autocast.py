"""Whether autocast is on, for any device: torch's own question is an error where a device has no autocast."""

from __future__ import annotations

import torch


def is_on(device_type: str) -> bool:
    """Whether autocast is enabled for this type of device; False for one without autocast, such as "meta"."""
    if torch.compiler.is_compiling():
        # PyTorch 2.7's compiler cannot trace the question of availability.
        return device_type != "meta" and torch.is_autocast_enabled(device_type)
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)
