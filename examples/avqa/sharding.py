"""FSDP2: a model's parameters spread over all processes, gathered layer by layer while they are used."""

from __future__ import annotations

import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from gaussian_moe.attention import Attention


def shard(model: nn.Module, device_type: str) -> None:
    """Spreads a model over all processes, in place.

    The layers that the model is made of are gathered one at a time, what is left of it together. A layer's operators
    see plain tensors, since they run within its `forward`.

    Args:
        model: its forward reaches the parameters of its layers through their own forward alone.
        device_type: "cuda" or "cpu".
    """
    mesh = init_device_mesh(device_type, (dist.get_world_size(),))
    for layer in _layers(model):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def _layers(model: nn.Module) -> list[nn.Module]:
    """The direct children that are made of others; a list of modules, which has no forward, counts as its members.

    A lone attention is none: TSPM takes its weights without its forward.
    """
    found: list[nn.Module] = []
    for child in model.children():
        if isinstance(child, (nn.ModuleList, nn.ModuleDict)):
            found += _layers(child)
        elif next(child.children(), None) is not None and not isinstance(child, Attention):
            found.append(child)
    return found
