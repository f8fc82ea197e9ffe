"""What the launcher compiles: every kernel with every configuration, for whoever compiles it ahead of time.

B batch, S streams, G routed experts of one clip, T frames, D channels, H hidden, E experts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..compilation import Compilation
from . import configs, kernel, kernel_backward
from .configs import Config
from .launch import ROUTE_BLOCK, precision

_TYPES = {
    **dict.fromkeys(("bits_ptr", "masks_ptr", "pairs_ptr", "starts_ptr", "first_ptr", "last_ptr"), "*i32"),
    **dict.fromkeys(("indices_ptr", "lengths_ptr"), "*i64"),
    "padding_ptr": "*i1",
}
_GAUSSIAN = ("centers_ptr", "stds_ptr", "nearest_ptr", "first_ptr", "last_ptr")
_PRODUCTS = {"bf16": ("half",), "fp16": ("half",), "fp32": ("tf32", "ieee")}


def compilations(target: str) -> list[Compilation]:
    """Every kernel with every configuration for the target: each dtype, weights given or Gaussian, with bits or not.

    Clips have lengths and evenly spaced frames; where bits are saved, also no padding at all, and times or a mask.
    Streams and channels have their usual strides, to which `layout.py` brings all others.
    """
    found = [_compilation("route", kernel_backward.route_kernel, "fp32", {"BLOCK": ROUTE_BLOCK}, (), 4, 2)]
    for dtype, kinds in _PRODUCTS.items():
        for kind in kinds:
            if (target, kind) not in configs.FORWARD or (target, dtype) == ("sm_75", "bf16"):
                continue
            for form in _FORMS:
                found += _of_form(target, dtype, kind, form)
    return found


class _Form(NamedTuple):
    """Which pointers a launcher leaves out, by a name."""

    name: str
    bits: bool
    absent: tuple[str, ...]


_UNMASKED = ("times_ptr", "padding_ptr")
_FORMS = (
    _Form("gaussian,bits", True, ("weights_ptr", *_UNMASKED)),
    _Form("gaussian", False, ("weights_ptr", "bits_ptr", *_UNMASKED)),
    _Form("gaussian,bits,times,mask", True, ("weights_ptr", "lengths_ptr")),
    _Form("gaussian,bits,whole", True, ("weights_ptr", "lengths_ptr", *_UNMASKED)),
    _Form("weights,bits", True, (*_GAUSSIAN, *_UNMASKED)),
    _Form("weights,bits,mask", True, (*_GAUSSIAN, "lengths_ptr", "times_ptr")),
    _Form("weights", False, (*_GAUSSIAN, "bits_ptr", *_UNMASKED)),
)


def _of_form(target: str, dtype: str, kind: str, form: _Form) -> list[Compilation]:
    """The forward kernel, and with bits those of the backward pass, which are given weights in every form."""
    product = f"{dtype if kind == 'half' else kind},{form.name}"
    found = []
    for config in configs.forward(target, kind, form.bits):
        keep, folded, rows = configs.fold(target, kind, config)
        fixed = {"KEEP": keep, "FOLD": folded, "ROWS": rows}
        name = f"forward[{product},{config.block_t}]"
        found.append(_product(name, kernel.pool_forward_kernel, dtype, kind, fixed, form.absent, config))
    if not form.bits:
        return found
    absent = tuple(name for name in form.absent if name != "weights_ptr")
    for config in configs.frames(target, kind):
        name = f"backward_frames[{product},{config.block_t}]"
        found.append(_product(name, kernel_backward.backward_frames_kernel, dtype, kind, {}, absent, config))
    experts, summing = configs.experts(target, kind), configs.summing(target)
    function = kernel_backward.backward_experts_kernel
    found.append(_product(f"backward_experts[{product}]", function, dtype, kind, {}, absent, experts))
    fixed, function = {"BLOCK_T": summing.block_t}, kernel_backward.backward_weights_kernel
    name = f"backward_weights[{product}]"
    found.append(_compilation(name, function, dtype, fixed, absent, summing.warps, summing.stages))
    return found


def _product(
    name: str, function: Any, dtype: str, kind: str, fixed: dict[str, Any], absent: tuple[str, ...], config: Config
) -> Compilation:
    sizes = {"BLOCK_T": config.block_t, "BLOCK_H": config.block_h, "BLOCK_D": config.block_d}
    fixed = {"PRECISION": precision(kind), **sizes, **fixed}
    return _compilation(name, function, dtype, fixed, absent, config.warps, config.stages)


def _compilation(
    name: str, function: Any, dtype: str, fixed: dict[str, Any], absent: tuple[str, ...], warps: int, stages: int
) -> Compilation:
    """As the launchers call the kernel; `absent` pointers are None."""
    names = function.arg_names
    nothing = [arg for arg in absent if arg in names]
    unit = [arg for arg in ("frames_dim_stride", "weight1_dim_stride", "weights_stride") if arg in names]
    constexprs = dict.fromkeys(nothing) | dict.fromkeys(unit, 1) | fixed
    of_dtype = ("state_ptr", "dframes_ptr", "frames_ptr", "weight1_ptr", "bias1_ptr")
    types = {arg: _TYPES.get(arg, f"*{dtype}" if arg in of_dtype else "*fp32") for arg in names if arg.endswith("_ptr")}
    signature = {arg: "constexpr" if arg in constexprs else types.get(arg, "i32") for arg in names}
    strides = [arg for arg in names if arg.endswith("_stride") and arg.startswith(("frames", "weight1"))]
    aligned = [arg for arg in (*types, *strides, "dim", "hidden_dim") if arg in names and arg not in constexprs]
    return Compilation(f"expert_pool.{name}", function, signature, constexprs, warps, stages, tuple(aligned))
