"""The two-layer perceptron that several layers end in."""

from __future__ import annotations

import torch
from torch import nn

from . import _checks
from .linear import Linear


def two_layers(
    dim: int,
    hidden_dim: int | None,
    backend: str,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> nn.Sequential:
    """D -> H -> D with ReLU between; H is D/2 by default.

    Raises:
        ValueError: `hidden_dim` below 1, or a backend other than "auto" and "torch".
    """
    hidden_dim = max(dim // 2, 1) if hidden_dim is None else hidden_dim
    _checks.positive(hidden_dim=hidden_dim)
    return nn.Sequential(
        Linear(dim, hidden_dim, backend=backend, device=device, dtype=dtype),
        nn.ReLU(),
        Linear(hidden_dim, dim, backend=backend, device=device, dtype=dtype),
    )
