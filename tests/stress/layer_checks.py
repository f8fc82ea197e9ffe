"""One try of a whole layer, a loss or a reading of a routing, in any dtype, against itself in float64.

A layer is a chain of softmaxes and LayerNorms whose condition no formula says shortly, so it is measured: the float64
layer is run again with its inputs, its parameters, and the arguments and the result of every operation, forward and
backward, moved at random by some roundings of the dtype (Monte Carlo arithmetic; the arguments as well, since an
operation may take differences within: the gradient of a softmax does). A result may be as far off as those runs are
from the exact one. Where rounding one score decides a whole softmax, or the dtype does not hold a result, finite is all
that can be asked.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gaussian_moe import (
    PatchFusion,
    ProgressiveRefiner,
    QuestionFusion,
    QuestionRouter,
    TemporalMoE,
    expert_spans,
    gaussian_diversity_loss,
    importance_loss,
    load_balance_loss,
    peak_span,
    router_z_loss,
    routing_statistics,
)
from gaussian_moe import backend as backends
from gaussian_moe.backend import VARIABLE

from .draw import DTYPES, Draw, clips, shown
from .pool_checks import NOTHING_IS_SMALL
from .window_checks import outside, unit

MOVED, RUNS = 8, 5
"""By how many roundings, and how often."""
WIDE = {
    *("gates", "centers", "stds", "weights"),
    *("load_balance_loss", "importance_loss", "router_z_loss", "gaussian_diversity_loss"),
}
"""Results that are float32 or wider whatever goes in: within the bound a narrower one might still be."""
Results = dict[str, Tensor]
Function = Callable[[nn.Module, Mapping[str, Tensor]], Results]


class Rounded(TorchDispatchMode):  # type: ignore[no-untyped-call]  # of its metaclass
    """Moves the arguments and the result of every operation in float64."""

    def __init__(self, draw: Draw, by: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # in torch
        self.draw, self.by = draw, by

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        exact = func.is_view or any(returned.alias_info is not None for returned in func._schema.returns)
        if exact or str(func).removeprefix("aten.").startswith(EXACT):
            return func(*args, **(kwargs or {}))
        return self._moved(func(*map(self._moved, args), **(kwargs or {})))

    def _moved(self, value: Any) -> Any:
        if isinstance(value, Tensor) and value.dtype == torch.float64:
            return value * (1 + self.by * (2 * self.draw.even(*value.shape) - 1))
        return value


EXACT = (
    "clone",
    "_to_copy",
    "stack",
    "cat",
    "gather",
    "index",
    "masked_fill",
    "where",
    "zeros",
    "ones",
    "full",
    "empty",
    "relu",
    "threshold",
    "clamp",
    "abs",
    "neg",
    "arange",
    "new_",
    "scatter",
    "select_backward",
    "slice_backward",
)


def compare(draw: Draw, module: nn.Module, inputs: Mapping[str, Tensor], dtype: torch.dtype, function: Function) -> str:
    """What of results or gradients is not finite or too far off; inputs in float64, as the dtype holds them."""
    with patch.dict(os.environ, {VARIABLE: "torch"}):
        exact = _results(copy.deepcopy(module).double(), inputs, function)
    most = max((float(x.abs().max()) for x in exact.values() if x.numel()), default=0.0)
    if not most < torch.finfo(dtype).max / 8:
        return ""
    low = copy.deepcopy(module).to(dtype)
    got = _results(low, {name: x.to(dtype) for name, x in inputs.items()}, function)
    size = (
        max(float(x.abs().max()) for x in inputs.values() if x.numel())
        if any(map(Tensor.numel, inputs.values()))
        else 0.0
    )
    decided = MOVED * unit(dtype) * size**2 < 0.5
    apart = {name: torch.zeros_like(x) for name, x in exact.items()}
    roundings = MOVED * unit(dtype)
    for _ in range(RUNS if decided else 0):
        moved = copy.deepcopy(module).double()
        with torch.no_grad():
            for parameter in moved.parameters():
                parameter.mul_(1 + roundings * (2 * draw.even(*parameter.shape) - 1))
        near = {name: x * (1 + roundings * (2 * draw.even(*x.shape) - 1)) for name, x in inputs.items()}
        with patch.dict(os.environ, {VARIABLE: "torch"}), Rounded(draw, roundings):
            results = _results(moved, near, function)
        for name, x in results.items():
            # The largest of the tensor: a sum over channels brings every channel's rounding to each.
            if x.numel():
                apart[name] = torch.maximum(apart[name], (x - exact[name]).abs().amax().expand_as(x))
    for name, wanted in exact.items():
        if name in WIDE and torch.promote_types(got[name].dtype, torch.float32) != got[name].dtype:
            return f"{name}: {shown(got[name].dtype)}, where float32 or wider is right"
        if not wanted.numel():
            continue
        error = 4 * apart[name] + 4 * roundings * wanted.abs().amax() + torch.finfo(dtype).tiny
        # No result is above an eighth of the most; by that much none is off that is finite.
        error = error if decided else torch.full_like(wanted, torch.finfo(got[name].dtype).max / 4)
        if wrong := outside(got[name], wanted, error, got[name].dtype):
            return f"{name}: {wrong}"
    return ""


def _results(module: nn.Module, inputs: Mapping[str, Tensor], function: Function) -> Results:
    leaves = {name: x.detach().requires_grad_() for name, x in inputs.items()}
    with patch.multiple(backends, **NOTHING_IS_SMALL):
        results = function(module, leaves)
        generator = torch.Generator().manual_seed(11)
        total = torch.zeros((), dtype=torch.float64)
        for x in results.values():
            if x.requires_grad:
                weight = torch.randn(x.shape, generator=generator, dtype=torch.float64)
                total = total + (x.double() * weight).sum()
        everything = leaves | dict(module.named_parameters())
        if total.requires_grad:
            found = torch.autograd.grad(total, list(everything.values()), allow_unused=True)
            for (name, leaf), x in zip(everything.items(), found, strict=True):
                results[f"gradient of {name}"] = torch.zeros_like(leaf) if x is None else x
    return {name: x.detach() for name, x in results.items()}


def _stirred(draw: Draw, module: nn.Module, size: float) -> nn.Module:
    """In eval mode, with biases that are not 0."""
    with torch.no_grad():
        for parameter in module.parameters():
            fan = parameter.shape[-1] if parameter.dim() > 1 else 16
            parameter.copy_(size * draw.normal(*parameter.shape) / fan**0.5)
    for norm in module.modules():
        if isinstance(norm, nn.LayerNorm):
            nn.init.ones_(norm.weight)
    return module.eval()


def _held(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Its parameters as the dtype holds them, in float64."""
    return module.to(dtype).double()


def try_layer(draw: Draw, small: bool) -> str:
    """What is wrong with one drawn case, or ""."""
    dtype = draw.choice(DTYPES)
    kind = draw.choice(list(LAYERS))
    T = min(draw.num_frames(small), 4097)
    B, size = draw.one(0, 1, 2, 3), 10 ** draw.uniform(-6, 3 if dtype == torch.float16 else 6)
    described, module, inputs, function = LAYERS[kind](draw, B, T, size, dtype)
    held = {name: x.to(dtype).double() for name, x in inputs.items()}
    wrong = compare(draw, _held(module, dtype), held, dtype, function)
    return f"{kind} {shown(dtype)} B={B} T={T} size={size:.1e} {described}: {wrong}" if wrong else ""


Case = tuple[str, nn.Module, dict[str, Tensor], Function]


def _moe(draw: Draw, B: int, T: int, size: float, dtype: torch.dtype) -> Case:
    E = draw.one(1, 2, 7, 16)
    K, S = draw.one(E, 1, min(3, E)), draw.one(0, 0, 2)
    backend = draw.one("auto", "torch")
    module = _stirred(draw, TemporalMoE(16, E, K, heads=4, num_streams=S, backend=backend), draw.one(1.0, 0.1))
    timing = clips(draw, B, T, dtype)
    with torch.no_grad():
        # Logits of up to 1e4, and centers and stds at their ends.
        module.router.gate.bias.mul_(draw.one(1.0, 1e4))  # type: ignore[union-attr,operator]  # a module's
        module.router.gaussian.bias.mul_(draw.one(1.0, 100.0))  # type: ignore[union-attr,operator]  # a module's
    inputs = {"question": size * draw.normal(B, 16), "frames": size * draw.normal(B, T, 16)}
    if S:
        inputs["streams"] = size * draw.normal(B, S, T, 16)

    def run(layer: nn.Module, x: Mapping[str, Tensor]) -> Results:
        pooled, routing = layer(**x, **timing.arguments, return_routing=True)
        # Where the time sum is not held by the dtype, its LayerNorm is not either.
        raw = layer(**x, **timing.arguments, per_expert=True)
        kept = (routing.gates, routing.centers, routing.stds, routing.logits, routing.weights)
        names = ("gates", "centers", "stds", "logits", "weights")
        return {"pooled": pooled, "time sums": raw, **dict(zip(names, kept, strict=True))}

    return f"E={E} K={K} S={S} {backend}", module, inputs, run


def _router(draw: Draw, B: int, T: int, size: float, dtype: torch.dtype) -> Case:
    module = QuestionRouter(16, 7, 7, heads=4, num_gaussians=draw.one(1, 3), window=draw.one("gaussian", "laplace"))
    timing = clips(draw, B, T, dtype)
    inputs = {"question": size * draw.normal(B, 2, 16), "frames": size * draw.normal(B, T, 16)}

    def run(layer: nn.Module, x: Mapping[str, Tensor]) -> Results:
        routing = layer(**x, **timing.arguments)
        fields = routing._asdict()
        return {name: value for name, value in fields.items() if value is not None and name != "indices"}

    return f"M={module.num_gaussians}", _stirred(draw, module, 1.0), inputs, run


def _refiner(draw: Draw, B: int, T: int, size: float, dtype: torch.dtype) -> Case:
    inputs = {"question": size * draw.normal(B, 16), "pooled": draw.one(1.0, size) * draw.normal(B, max(T % 70, 1), 16)}
    return "", _stirred(draw, ProgressiveRefiner(16, heads=4), 1.0), inputs, lambda layer, x: {"refined": layer(**x)}


def _fusion(draw: Draw, B: int, T: int, size: float, dtype: torch.dtype) -> Case:
    T = min(T, 257)
    lengths = draw.one(T, T, 5), draw.one(0, 1, 9)
    masks = [draw.even(B, n) < draw.one(0.0, 0.5, 1.0) for n in (T, *lengths)]
    inputs = {
        name: size * draw.normal(B, n, 16) for name, n in zip(("audio", "video", "words"), (T, *lengths), strict=True)
    }

    def run(layer: nn.Module, x: Mapping[str, Tensor]) -> Results:
        names = ("audio_padding_mask", "video_padding_mask", "words_padding_mask")
        return dict(zip(("audio", "video"), layer(**x, **dict(zip(names, masks, strict=True))), strict=True))

    return f"lengths={lengths}", _stirred(draw, QuestionFusion(16, heads=4), 1.0), inputs, run


def _patches(draw: Draw, B: int, T: int, size: float, dtype: torch.dtype) -> Case:
    T, N = min(T, 63), draw.one(0, 1, 4, 14)
    inputs = {
        "patches": size * draw.normal(B, T, N, 16),
        "audio": size * draw.normal(B, T, 16),
        "video": draw.one(1.0, size) * draw.normal(B, T, 16),
    }
    return (
        f"N={N}",
        _stirred(draw, PatchFusion(16, heads=4), 1.0),
        inputs,
        lambda layer, x: dict(zip(("audio", "video"), layer(**x), strict=True)),
    )


def _losses(draw: Draw, B: int, T: int, size: float, dtype: torch.dtype) -> Case:
    """Losses, statistics and spans of a router's routing, from a context that is given."""
    E, T = draw.one(1, 2, 7, 64), max(T, 1)
    K, timing = draw.one(E, 1), clips(draw, B, T, dtype)
    module = QuestionRouter(16, E, K, heads=4)
    _stirred(draw, module, 1.0)
    arguments: dict[str, Any] = timing.arguments
    padding = {name: arguments[name] for name in ("key_padding_mask", "lengths")}
    with torch.no_grad():
        module.gate.bias.mul_(draw.one(1.0, 1e4))

    def run(layer: nn.Module, x: Mapping[str, Tensor]) -> Results:
        routing = layer(**x, **arguments)
        found = {
            loss.__name__: loss(routing, **padding)
            for loss in (load_balance_loss, importance_loss, router_z_loss, gaussian_diversity_loss)
        }
        found |= routing_statistics(routing, **padding).as_dict()
        found |= {f"span {name}": x for name, x in expert_spans(routing, duration=60.0)._asdict().items()}
        sure = peak_span(routing, **arguments)
        return found | {"peak's confidence": sure.confidence.clamp(max=2.0) * 0.0, "peak": sure.start * 0.0}

    inputs = {"question": min(size, 1e3) * draw.normal(B, 16), "frames": draw.normal(B, T, 16)}
    return f"E={E} K={K}", module, inputs, run


LAYERS: dict[str, Callable[[Draw, int, int, float, torch.dtype], Case]] = {
    "TemporalMoE": _moe,
    "QuestionRouter": _router,
    "ProgressiveRefiner": _refiner,
    "QuestionFusion": _fusion,
    "PatchFusion": _patches,
    "losses and readings": _losses,
}
