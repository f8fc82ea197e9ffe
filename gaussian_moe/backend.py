"""Which implementation computes the operations: the argument, the environment variable, and what is there."""

from __future__ import annotations

import os
from typing import Literal

Backend = Literal["auto", "triton", "torch"]
BACKENDS = ("auto", "triton", "torch")
VARIABLE = "GAUSSIAN_MOE_BACKEND"


def check_backend(backend: str) -> None:
    """Raises ValueError for a name that is no backend."""
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")


def resolve_backend(backend: str) -> Literal["torch"]:
    """The implementation for this call: `backend`, or where that is "auto", the environment's GAUSSIAN_MOE_BACKEND.

    Raises:
        ValueError: an unknown name, or an explicit request that cannot be met.
    """
    check_backend(backend)
    source = "backend"
    if backend == "auto" and VARIABLE in os.environ:
        source, backend = VARIABLE, os.environ[VARIABLE]
        if backend not in BACKENDS:
            raise ValueError(f"{VARIABLE} must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "triton":
        raise ValueError(f"{source}='triton': this version has no fused kernel; use 'auto' or 'torch'")
    return "torch"
