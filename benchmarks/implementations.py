"""The computations that are compared, each ready to be called on one problem."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from gaussian_moe import TemporalMoE
from gaussian_moe.kernels.expert_pool import op

from .cases import PASSES
from .problem import Problem
from .published import PublishedMoE


class Computation:
    """One implementation on one problem.

    Args:
        name: of the implementation.
        module: what holds the parameters.
        problem: what it is given.
        call: what computes, by default the module.
    """

    passes: tuple[str, ...] = PASSES
    """Which passes can be timed."""
    eager = True
    """Whether every operation passes through the dispatcher, where FLOPs are counted."""

    def __init__(
        self, name: str, module: nn.Module, problem: Problem, call: Callable[..., Tensor] | None = None
    ) -> None:
        self.name, self._call = name, module if call is None else call
        self.eager = call is None
        # Inputs of its own, over the same memory: gradients of one implementation never meet another's.
        self._question = problem.question.detach().requires_grad_()
        self._frames = problem.frames.detach().requires_grad_()
        self._options = {} if problem.routing is None else {"routing": problem.routing}
        self._upstream = problem.upstream
        parameters = {name.removeprefix("layer."): parameter for name, parameter in module.named_parameters()}
        self.leaves = {"question": self._question, "frames": self._frames, **parameters}

    def forward(self) -> Tensor:
        """The result, without a graph."""
        with torch.no_grad():
            return self._call(self._question, self._frames, **self._options)

    def recorded(self) -> Tensor:
        """The result, ready for `backward`."""
        return self._call(self._question, self._frames, **self._options)

    def backward(self, result: Tensor) -> tuple[Tensor, ...]:
        """The gradients of `leaves`, in their order: new tensors, nothing is added to any `.grad`."""
        return torch.autograd.grad(result, list(self.leaves.values()), self._upstream)

    def both(self) -> tuple[Tensor, ...]:
        """Forward and backward: the gradients of `leaves`."""
        return self.backward(self.recorded())


class Graphed(Computation):
    """A computation whose passes are captured once as CUDA graphs and then replayed."""

    passes = ("forward", "both")

    def __init__(
        self, name: str, module: nn.Module, problem: Problem, call: Callable[..., Tensor] | None = None
    ) -> None:
        super().__init__(name, module, problem, call)
        self.eager = False
        self._captured: dict[str, tuple[Any, Any]] = {}

    def forward(self) -> Tensor:
        """The result, overwritten by the next call."""
        result: Tensor = self._replay("forward", super().forward)
        return result

    def both(self) -> tuple[Tensor, ...]:
        """The gradients, overwritten by the next call."""
        gradients: tuple[Tensor, ...] = self._replay("both", super().both)
        return gradients

    def _replay(self, name: str, call: Callable[[], Any]) -> Any:
        if name not in self._captured:
            self._captured[name] = _capture(call)
        graph, outputs = self._captured[name]
        graph.replay()
        return outputs


def _capture(call: Callable[[], Any]) -> tuple[Any, Any]:
    """Warms up beside the current stream, as captures want it, and captures."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # untyped in torch
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = call()
    return graph, outputs


class WithoutSkipping(Computation):
    """The layer with every frame in every Gaussian's reach."""

    def forward(self) -> Tensor:
        """The result, without a graph."""
        with _without_skipping():
            return super().forward()

    def recorded(self) -> Tensor:
        """The result, ready for `backward`."""
        with _without_skipping():
            return super().recorded()


@contextmanager
def _without_skipping() -> Iterator[None]:
    with patch.object(op, "reach_threshold", lambda dtype: 0.0):
        yield


def _compiled(module: nn.Module) -> Callable[..., Tensor]:
    compiled: Callable[..., Tensor] = torch.compile(module, fullgraph=True, dynamic=False)
    return compiled


def _factored(problem: Problem) -> TemporalMoE:
    """The factored computation in plain torch over the layer's own parameters."""
    case = problem.case
    factored = TemporalMoE(case.D, case.E, case.K, dropout=0.0, backend="torch", device=problem.frames.device)
    factored.load_state_dict(problem.layer.state_dict(), assign=True)
    return factored


_MODULES: dict[str, Callable[[Problem], nn.Module]] = {
    "layer": lambda problem: problem.layer,
    "factored": _factored,
    "published": lambda problem: PublishedMoE(problem.layer),
}


def make_computation(name: str, problem: Problem) -> Computation:
    """The implementation of this name, such as `layer`, `published_compiled` or `factored_graph`.

    Raises:
        ValueError: an unknown name.
    """
    if name == "layer_without_skipping":
        return WithoutSkipping(name, problem.layer, problem)
    base, *ways = name.split("_")
    if base not in _MODULES or ways not in ([], ["compiled"], ["graph"], ["compiled", "graph"]):
        raise ValueError(f"unknown implementation {name!r}")
    module = _MODULES[base](problem)
    kind = Graphed if "graph" in ways else Computation
    return kind(name, module, problem, _compiled(module) if "compiled" in ways else None)
