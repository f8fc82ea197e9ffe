"""Matrices of chosen experts, whose gradients are added in the same order every time."""

from __future__ import annotations

import torch
from torch import Tensor


def of_experts(
    bank: Tensor,  # [E, ...]
    expert: Tensor,  # [*] int64
) -> Tensor:  # [*, ...]
    """`bank[expert]`. The gradient of that is added up by several threads of a CPU in whatever order they come."""
    rows = torch.nn.functional.embedding(expert, bank.flatten(1))
    return rows.view(*expert.shape, *bank.shape[1:])
