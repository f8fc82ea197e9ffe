"""What several tests need: layers that are not at their initial zeros, golden files, comparison of gradients."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from gaussian_moe import Routing, TemporalMoE

GOLDEN = Path(__file__).parents[1] / "golden"
M = TypeVar("M", bound=nn.Module)


class Golden(NamedTuple):
    """One golden file; the tensors by the part of the name after the group's."""

    meta: dict[str, int]
    state: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    cotangents: dict[str, Tensor]
    grad_inputs: dict[str, Tensor]
    grad_state: dict[str, Tensor]
    released: dict[str, Tensor]


def golden(name: str, dtype: torch.dtype = torch.float64) -> Golden:
    """Reads a golden file; everything in it is exact in float64."""
    groups: dict[str, dict[str, Tensor]] = {}
    with np.load(GOLDEN / f"{name}.npz") as file:
        meta = json.loads(str(file["meta"]))
        for key in file.files:
            if key != "meta":
                group, _, rest = key.partition(".")
                groups.setdefault(group, {})[rest] = torch.from_numpy(file[key]).to(dtype)
    return Golden(
        meta,
        groups["state"],
        groups["in"],
        groups["out"],
        groups["cotangent"],
        groups["grad_in"],
        groups["grad_state"],
        groups["released_batch_output"],
    )


def stirred(module: M) -> M:
    """The module in eval mode with every bias and norm away from 0 and 1, where a wrong one would not show."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() == 1 or parameter.shape[0] == 1 or not bool(parameter.any()):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return module.eval()


def small_moe(num_experts: int = 7, top_k: int = 3, num_streams: int = 0, released: bool = False) -> TemporalMoE:
    """A stirred `TemporalMoE` of 16 channels, which runs in no time."""
    return stirred(
        TemporalMoE(16, num_experts, top_k, heads=4, num_streams=num_streams, released_expert_order=released)
    )


def assert_close(got: Tensor, wanted: Tensor, atol: float = 1e-10, what: str = "") -> None:
    """Same shape, and nowhere further apart than `atol` times the wanted tensor's scale, at least 1."""
    scale = max(1.0, float(wanted.detach().abs().max())) if wanted.numel() else 1.0
    torch.testing.assert_close(got, wanted, rtol=0.0, atol=atol * scale, msg=lambda text: f"{what} {text}")


def assert_same_gradients(
    first: Mapping[str, Tensor | None], second: Mapping[str, Tensor | None], atol: float = 1e-10
) -> None:
    """Two sets of gradients agree name by name; None stands for no part in the result."""
    assert first.keys() == second.keys()
    for name, gradient in first.items():
        other = second[name]
        assert (gradient is None) == (other is None), name
        if gradient is not None and other is not None:
            assert_close(gradient, other, atol, name)


def gradients(outputs: Tensor | Sequence[Tensor], leaves: Mapping[str, Tensor]) -> dict[str, Tensor | None]:
    """Gradients of a fixed random projection of the outputs, which every element of them reaches."""
    outputs = [outputs] if isinstance(outputs, Tensor) else outputs
    generator = torch.Generator().manual_seed(11)
    random = [torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out.dtype) for out in outputs]
    total = torch.stack([(out * weight).sum() for out, weight in zip(outputs, random, strict=True)]).sum()
    found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True, retain_graph=True)
    return dict(zip(leaves, found, strict=True))


def tensors(routing: Routing) -> list[Tensor]:
    """The fields of a routing that has its weights."""
    assert routing.weights is not None
    return [field for field in routing if field is not None]
