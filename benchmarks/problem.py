"""Inputs and parameters on which every correct implementation must agree.

A rounding error may not decide which expert is used, which frame is the nearest to a center or whether a ReLU is
open: each of these is a jump in the result or in a gradient, by which correct implementations would differ.

B batch, T frames, D channels, H hidden, E experts, K experts in use.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from gaussian_moe import Routing, TemporalMoE

from .cases import Case

TORCH_DTYPES = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
STEPS = 16
"""Frames are multiples of 1/STEPS, first-layer weights of their std/STEPS: see `_round_to_grid`."""
GAP = 0.1
"""Between the last expert in use and the next, in standard deviations of the clip's logits."""
OFF_CENTER = 0.01
"""Of every center to the middle between two frames, in frames."""
_CLIPS = 8
"""Are drawn at a time: the float64 copy of their frames stays small."""


@dataclass(frozen=True)
class Problem:
    """A layer and what it is given."""

    case: Case
    layer: TemporalMoE
    question: Tensor
    """[B, D]"""
    frames: Tensor
    """[B, T, D]"""
    upstream: Tensor
    """[B, D], the gradient of the result."""
    routing: Routing | None = None
    """Given to the layer where the case forces the stds; without weights, so that they are the layer's to compute."""


@contextmanager
def precision(case: Case) -> Iterator[None]:
    """PyTorch's setting for matrix products in float32, as the case wants it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if case.dtype == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def make_problem(case: Case, device: str) -> Problem:
    """Draws parameters and inputs from a fixed seed, clip by clip anew where rounding might decide something."""
    generator = torch.Generator().manual_seed(713)
    dtype = TORCH_DTYPES[case.dtype]
    layer = _layer(case, generator).to(device, dtype)
    exact = exact_layer(layer)
    question = torch.empty(case.B, case.D, device=device, dtype=dtype)
    frames = torch.empty(case.B, case.T, case.D, device=device, dtype=dtype)
    for start in range(0, case.B, _CLIPS):
        part = slice(start, start + _CLIPS)
        question[part], frames[part] = _decided_clips(case, exact, question[part], generator)
    upstream = torch.randn(case.B, case.D, generator=generator).to(device, dtype)
    routing = None
    if case.stds is not None:
        with torch.no_grad():
            routing = layer.router(question, frames, return_weights=False)
        routing = routing._replace(stds=torch.full_like(routing.stds, case.stds))
    return Problem(case, layer, question, frames, upstream, routing)


def exact_layer(layer: TemporalMoE) -> TemporalMoE:
    """The layer in float64 and plain torch, with parameters of its own."""
    router = layer.router
    exact = TemporalMoE(layer.dim, router.num_experts, router.top_k, dropout=0.0, backend="torch")
    exact.load_state_dict(layer.state_dict())
    return exact.to(layer.experts.weight1.device).double()


def _layer(case: Case, generator: torch.Generator) -> TemporalMoE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(713)
        layer = TemporalMoE(case.D, case.E, case.K, dropout=0.0)
    with torch.no_grad():
        for parameter in layer.parameters():
            # Biases of 0 and a norm of 1 would hide whether anything adds or multiplies them.
            if parameter.dim() == 1 or parameter is layer.experts.bias1 or parameter is layer.experts.bias2:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        weight1, bias1 = layer.experts.weight1, layer.experts.bias1
        step = 2.0 ** round(math.log2(math.sqrt(2 / case.D))) / STEPS
        weight1.copy_(_round_to_grid(weight1, step))
        bias1.copy_(_round_to_grid(bias1, step))
    return layer


def _draw(clips: int, case: Case, generator: torch.Generator) -> tuple[Tensor, Tensor]:  # [b, D], [b, T, D]
    # A mean of its own gives each clip its own experts: without, long clips would all look alike to the router.
    mean = 0.5 * torch.randn(clips, 1, case.D, generator=generator)
    frames = mean + torch.randn(clips, case.T, case.D, generator=generator)
    return torch.randn(clips, case.D, generator=generator), _round_to_grid(frames, 1 / STEPS)


def _round_to_grid(values: Tensor, step: float) -> Tensor:
    """Whole multiples of a power of two, few enough for bfloat16.

    Products of two such numbers, and their sums over up to 1024 channels, are exact in float32. So the experts'
    hidden layer before its ReLU is the same in every implementation and dtype with float32 accumulation.
    """
    return (values / step).round().clamp(-8 * STEPS, 8 * STEPS) * step


def _decided_clips(
    case: Case,
    exact: TemporalMoE,
    like: Tensor,  # [b, D]
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:  # [b, D], [b, T, D]
    """Some clips and their questions; a clip whose routing rounding could change is drawn again."""
    question, frames = (drawn.to(like) for drawn in _draw(len(like), case, generator))
    for _ in range(200):
        open_clips = (~_decided(exact, question, frames)).nonzero().squeeze(-1)
        if not len(open_clips):
            return question, frames
        drawn = _draw(len(open_clips), case, generator)
        question[open_clips], frames[open_clips] = (each.to(like) for each in drawn)
    raise RuntimeError(f"{case}: the routing of some clip stays undecided")


@torch.no_grad()
def _decided(exact: TemporalMoE, question: Tensor, frames: Tensor) -> Tensor:  # [B] bool
    """Whether each clip's routing is far from every jump."""
    K, T = exact.router.top_k, frames.shape[1]
    routing = exact.router(question.double(), frames.double(), return_weights=False)
    decided = torch.ones(len(frames), dtype=torch.bool, device=frames.device)
    if exact.router.num_experts > K:
        logits = routing.logits.sort(-1, descending=True).values
        decided &= logits[:, K - 1] - logits[:, K] >= GAP * logits.std(-1)
    if T > 1:
        off = (routing.centers * (T - 1)).frac() - 0.5
        decided &= (off.abs() >= OFF_CENTER).all(-1)
    return decided
