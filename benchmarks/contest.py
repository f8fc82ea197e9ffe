"""One case's contest: who competes, and the result in float64 that each is held against.

B batch, T frames, D channels, E experts, K experts in use.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from gaussian_moe import Routing

from .agreement import Bounds, Errors, Exact, bounds, compare
from .cases import Case
from .implementations import Computation, make_computation
from .problem import exact_layer, make_problem

_ELEMENTS = 2**26
"""Of the largest tensor that the float64 computation makes: 512 MiB."""


class Contest(Protocol):
    """Makes the competitors and checks them."""

    def make(self, name: str) -> Computation:
        """The implementation of this name, on this contest's inputs."""

    def errors(self, computation: Computation, gradients: bool) -> Errors:
        """How far its result, and its gradients where wanted, are from float64."""

    def bounds(self, name: str, gradients: bool) -> Bounds:
        """How far they may be."""


class LayerContest:
    """Implementations of the whole layer on the same inputs."""

    def __init__(self, case: Case, device: str) -> None:
        self._case = case
        self._problem = make_problem(case, device)
        self._exact: Exact | None = None
        self._plain: dict[bool, Errors] = {}

    def make(self, name: str) -> Computation:
        """The implementation of this name, on this contest's inputs."""
        return make_computation(name, self._problem)

    def errors(self, computation: Computation, gradients: bool) -> Errors:
        """How far its result, and its gradients where wanted, are from float64."""
        if self._exact is None or (gradients and self._exact.gradients is None):
            self._exact = self._in_float64(gradients)
        output = computation.forward()
        found = computation.both() if gradients else None
        return compare(output, found, list(computation.leaves), self._exact)

    def bounds(self, name: str, gradients: bool) -> Bounds:
        """How far they may be; below float32 twice the error of plain torch."""
        if self._case.dtype == "float32":
            return bounds("float32", None)
        if gradients not in self._plain:
            self._plain[gradients] = self.errors(self.make("factored"), gradients)
        return bounds(self._case.dtype, self._plain[gradients])

    def _in_float64(self, gradients: bool) -> Exact:
        """The layer in float64, a few clips at a time: no clip sees another, and memory stays bounded."""
        problem, case = self._problem, self._case
        layer = exact_layer(problem.layer)
        hidden = case.T * (case.E if 2 * case.K >= case.E else case.K) * layer.experts.hidden_dim
        clips = max(1, _ELEMENTS // max(hidden, case.T * case.D))
        parameters = list(layer.parameters())
        totals = [torch.zeros_like(parameter) for parameter in parameters]
        outputs: list[Tensor] = []
        of_inputs: list[tuple[Tensor, ...]] = []
        for start in range(0, case.B, clips):
            part = slice(start, start + clips)
            inputs = [tensor[part].double().requires_grad_(gradients) for tensor in (problem.question, problem.frames)]
            routing = problem.routing
            if routing is not None:
                routing = Routing._make(None if field is None else _widened(field[part]) for field in routing)
            with torch.set_grad_enabled(gradients):
                result = layer(*inputs, routing=routing)
            outputs.append(result.detach())
            if gradients:
                found = torch.autograd.grad(result, [*inputs, *parameters], problem.upstream[part].double())
                of_inputs.append(found[:2])
                for total, each in zip(totals, found[2:], strict=True):
                    total += each
        if not gradients:
            return Exact(torch.cat(outputs))
        question, frames = (torch.cat(parts) for parts in zip(*of_inputs, strict=True))
        return Exact(torch.cat(outputs), (question, frames, *totals))


def _widened(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor
