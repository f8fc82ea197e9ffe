"""Which implementation an op runs on a device, decided once when the package is imported."""

from __future__ import annotations

import importlib.util
import os

import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Triton reads the variable when it is imported; with it the kernels' own code runs on a CPU."""


def triton_there() -> bool:
    """Triton can be imported."""
    return importlib.util.find_spec("triton") is not None


def runs_triton(device: torch.device) -> bool:
    """The op's kernel for that device is the Triton one."""
    return device.type == "cuda" or (device.type == "cpu" and INTERPRETED and triton_there())


def no_double_backward(name: str) -> str:
    """What is said where a gradient of a gradient is asked for."""
    return (
        f"{name} has no double backward: its gradients come from a fused kernel; "
        "use backend='torch' where gradients of gradients are needed"
    )
