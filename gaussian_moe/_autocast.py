"""Whether autocast is on, for any device: torch's own question is an error where a device has no autocast."""

from __future__ import annotations

import torch


def is_on(device_type: str) -> bool:
    """Whether autocast is enabled for this type of device; False for one without autocast, such as "meta"."""
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)
