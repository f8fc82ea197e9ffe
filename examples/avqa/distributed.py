"""Which of how many processes this one is, and sums over all of them; one process where nothing was started."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def processes() -> tuple[int, int]:
    """The number of this process and how many there are.

    Examples:
        >>> processes()
        (0, 1)
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def summed(value: Tensor) -> Tensor:
    """The sum of a tensor over all processes; the tensor is on the processes' devices and left as it is."""
    if processes()[1] == 1:
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total


def take_from_first(value: Tensor) -> None:
    """Overwrites a tensor with the first process's."""
    if processes()[1] > 1:
        dist.broadcast(value, src=0)


def gathered(value: Tensor, device: torch.device) -> Tensor:
    """The tensors [...] of all processes, [processes, ...] on the CPU; `device` is this process's."""
    count = processes()[1]
    if count == 1:
        return value.cpu().unsqueeze(0)
    parts = [torch.empty_like(value, device=device) for _ in range(count)]
    dist.all_gather(parts, value.to(device))
    return torch.stack(parts).cpu()
