"""Launches the Triton kernels of expert pooling: sizes, strides, and the buffers that programs share a sum through.

A sum that several programs take is written in parts and added in a fixed order, so that results repeat to the last
bit. How many parts there are follows from shapes and the device alone, and nothing waits for the device: all of it
can be captured in a CUDA graph.

B batch, S streams, G routed experts of one clip, T frames, D channels, H hidden, E experts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..compilation import Compilation
from ..gaussian_weights.launch import frame_rows, on_device_of, weights_backward, weights_forward, windows
from . import configs, kernel, kernel_backward
from .configs import Config, blocks

_ROUTE_BLOCK = 1024
_SPLITS = 16  # A split costs as much memory as all of W1 in float32.


def pool_forward(
    frames: Tensor,  # [B, S, T, D]
    weight1: Tensor,  # [E, H, D]
    bias1: Tensor,  # [E, H]
    indices: Tensor,  # [B, G] int64
    weights: Tensor | None,  # [B, G, T] wide
    centers: Tensor | None,  # [B, G] wide, fraction of the clip
    stds: Tensor | None,  # [B, G] wide, fraction of the clip
    times: Tensor | None,  # [B, T] wide, fraction of the clip
    lengths: Tensor | None,  # [B] int
    padding: Tensor | None,  # [B, T] bool, True = ignore
    epsilon: float,
    save_bits: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """`S_bsg = sum_t g_bgt relu(W1_e x_bst + b1_e)`, the mass `sum_t g_bgt`, and where the hidden layer is above 0.

    Returns:
        [B, S, G, H] in the frames' dtype; [B, G] wide; [B, S, G, T, ceil(H/32)] int32, 0 outside the windows, or [0]
        unless `save_bits`.
    """
    B, S, T, D = frames.shape
    H, G = weight1.shape[1], indices.shape[1]
    wide, device = torch.promote_types(frames.dtype, torch.float32), frames.device
    # Set to 0, so that what is not written is the same every time.
    bits = torch.zeros((B, S, G, T, blocks(H, 32)) if save_bits else (0,), dtype=torch.int32, device=device)
    if B * G * T == 0:
        return frames.new_zeros(B, S, G, H), frames.new_zeros(B, G, dtype=wide), bits
    target = configs.target(device)
    kind = configs.kind(frames.dtype, target)
    config = configs.pick(
        configs.forward(target, kind, save_bits), T, lambda c: B * S * G * blocks(H, c.block_h), device
    )
    programs = B * S * G * blocks(H, config.block_h)
    chunks = configs.shares(blocks(T, config.block_t), programs, device)
    # Parts are wide; a sum with one part is written as it goes out.
    state = torch.empty(chunks, B, S, G, H, dtype=frames.dtype if chunks == 1 else wide, device=device)
    mass = torch.empty(chunks, B, G, dtype=wide, device=device)
    nearest = first = last = None
    if weights is None:
        assert centers is not None
        assert stds is not None
        centers, stds = centers.contiguous(), stds.contiguous()
        nearest, first, last = windows(centers, stds, times, lengths, padding, T, epsilon)
    times, times_stride = frame_rows(times)
    padding, padding_stride = frame_rows(padding)
    keep, folded, rows = configs.fold(target, kind, config)
    with on_device_of(frames):
        kernel.pool_forward_kernel[(programs, chunks)](
            state,
            mass,
            bits if save_bits else None,
            frames,
            weight1,
            bias1.contiguous(),
            indices.contiguous(),
            weights,
            None if weights is not None else centers,
            None if weights is not None else stds,
            nearest,
            first,
            last,
            None if weights is not None else times,
            None if lengths is None else lengths.contiguous(),
            padding,
            B,
            S,
            G,
            T,
            D,
            H,
            *frames.stride(),
            *weight1.stride(),
            *(weights.stride() if weights is not None else (0, 0, 0)),
            times_stride,
            padding_stride,
            PRECISION=_precision(kind),
            KEEP=keep,
            FOLD=folded,
            ROWS=rows,
            BLOCK_T=config.block_t,
            BLOCK_H=config.block_h,
            BLOCK_D=config.block_d,
            num_warps=config.warps,
            num_stages=config.stages,
        )
    return _added(state, frames.dtype), _added(mass, wide), bits


def pool_backward(
    grad_state: Tensor,  # [B, S, G, H]
    grad_mass: Tensor,  # [B, G] wide
    frames: Tensor,  # [B, S, T, D]
    weight1: Tensor,  # [E, H, D]
    bias1: Tensor,  # [E, H]
    indices: Tensor,  # [B, G] int64
    weights: Tensor | None,  # [B, G, T] wide
    centers: Tensor | None,  # [B, G] wide, fraction of the clip
    stds: Tensor | None,  # [B, G] wide, fraction of the clip
    times: Tensor | None,  # [B, T] wide, fraction of the clip
    lengths: Tensor | None,  # [B] int
    padding: Tensor | None,  # [B, T] bool, True = ignore
    bits: Tensor,  # [B, S, G, T, ceil(H/32)] int32
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of frames, W1, b1, and of weights or of centers and stds, whichever the forward pass was given.

    Here the weights of Gaussians are held in memory, [B, G, T] as their gradients are: the two products need them
    where they would have to be computed again for every block.
    """
    B, S, T, _ = frames.shape
    E, H, D = weight1.shape
    G, wide, device = indices.shape[1], torch.promote_types(frames.dtype, torch.float32), frames.device
    if B * G * T == 0:
        shared = frames.new_zeros(frames.shape), torch.zeros_like(weight1), torch.zeros_like(bias1)
        if weights is not None:
            return *shared, torch.zeros_like(weights), None, None
        return *shared, None, grad_mass.new_zeros(B, G), grad_mass.new_zeros(B, G)
    first = last = None
    g = weights
    if g is None:
        assert centers is not None
        assert stds is not None
        g = weights_forward(centers, stds, times, lengths, padding, T)
        _, first, last = windows(centers, stds, times, lengths, padding, T, epsilon)
    target = configs.target(device)
    kind = configs.kind(frames.dtype, target)
    pairs, starts, masks = _route(indices, E)
    grad_state = grad_state.to(wide).contiguous()
    bias1, indices = bias1.contiguous(), indices.contiguous()
    padding_rows, padding_stride = frame_rows(padding)
    window = first, last, None if lengths is None else lengths.contiguous(), padding_rows

    config = configs.pick(configs.frames(target, kind), T, lambda c: B * S * blocks(D, c.block_d), device)
    channel_blocks = blocks(D, config.block_d)
    dframes = torch.empty(B, S, T, D, dtype=frames.dtype, device=device)
    partial = torch.empty(channel_blocks, B, S, G, T, dtype=wide, device=device)
    with on_device_of(frames):
        kernel_backward.backward_frames_kernel[(B * S * blocks(T, config.block_t) * channel_blocks,)](
            dframes,
            partial,
            masks,
            grad_state,
            bits,
            frames,
            weight1,
            indices,
            g,
            *window,
            B,
            S,
            G,
            T,
            D,
            H,
            *frames.stride(),
            *weight1.stride(),
            *g.stride(),
            padding_stride,
            PRECISION=_precision(kind),
            BLOCK_T=config.block_t,
            BLOCK_H=config.block_h,
            BLOCK_D=config.block_d,
            num_warps=config.warps,
            num_stages=config.stages,
        )

        summing = configs.summing(target)
        passed = torch.empty(blocks(T, summing.block_t), B, S, G, H, dtype=wide, device=device)
        dweights = torch.empty(B, G, T, dtype=wide, device=device)
        kernel_backward.backward_weights_kernel[(B * G * passed.shape[0],)](
            dweights,
            passed,
            partial,
            grad_mass.contiguous(),
            masks,
            grad_state,
            bits,
            bias1,
            indices,
            g,
            *window,
            B,
            S,
            G,
            T,
            H,
            channel_blocks,
            *g.stride(),
            padding_stride,
            BLOCK_T=summing.block_t,
            num_warps=summing.warps,
            num_stages=summing.stages,
        )

        config = configs.experts(target, kind)
        bank_blocks = blocks(H, config.block_h) * blocks(D, config.block_d)
        work = B * G * S * blocks(T, config.block_t)
        splits = min(_SPLITS, configs.shares(work, min(E, B * G) * bank_blocks, device))
        # Windows are cut too where there are fewer of them than splits.
        chunks = min(blocks(splits * E, B * G * S), blocks(T, config.block_t))
        dweight1 = torch.empty(splits, E, H, D, dtype=weight1.dtype if splits == 1 else wide, device=device)
        dbias1 = torch.empty(splits, E, H, dtype=wide, device=device)
        kernel_backward.backward_experts_kernel[(E * bank_blocks, splits)](
            dweight1,
            dbias1,
            masks,
            grad_state,
            bits,
            passed,
            frames,
            pairs,
            starts,
            g,
            *window,
            E,
            B,
            S,
            G,
            T,
            D,
            H,
            chunks,
            passed.shape[0],
            *frames.stride(),
            *g.stride(),
            padding_stride,
            PRECISION=_precision(kind),
            BLOCK_T=config.block_t,
            BLOCK_H=config.block_h,
            BLOCK_D=config.block_d,
            num_warps=config.warps,
            num_stages=config.stages,
        )
    shared = dframes, _added(dweight1, weight1.dtype), _added(dbias1, bias1.dtype)
    if weights is not None:
        return *shared, dweights, None, None
    assert centers is not None
    assert stds is not None
    return *shared, None, *weights_backward(dweights, centers, stds, times, lengths, padding)


def _route(indices: Tensor, num_experts: int) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers [B G] of the routed experts in order of their expert, where each expert's begin [E + 1], 1 << j [32]."""
    pairs = torch.empty(indices.numel(), dtype=torch.int32, device=indices.device)
    starts = torch.empty(num_experts + 1, dtype=torch.int32, device=indices.device)
    masks = torch.empty(32, dtype=torch.int32, device=indices.device)
    with on_device_of(indices):
        kernel_backward.route_kernel[(num_experts,)](
            pairs, starts, masks, indices.contiguous(), indices.numel(), BLOCK=_ROUTE_BLOCK, num_warps=4
        )
    return pairs, starts, masks


def _precision(kind: str) -> str:
    """How a product of float32 is taken; without meaning for other dtypes."""
    return "tf32" if kind == "tf32" else "ieee"


def _added(parts: Tensor, dtype: torch.dtype) -> Tensor:
    """The sum over the first dimension, in that dtype; torch adds in a fixed order."""
    return parts.squeeze(0).to(dtype) if parts.shape[0] == 1 else parts.sum(0).to(dtype)


_TYPES = {
    **dict.fromkeys(("bits_ptr", "masks_ptr", "pairs_ptr", "starts_ptr", "first_ptr", "last_ptr"), "*i32"),
    **dict.fromkeys(("indices_ptr", "lengths_ptr"), "*i64"),
    "padding_ptr": "*i1",
}
_GAUSSIAN = ("centers_ptr", "stds_ptr", "nearest_ptr", "first_ptr", "last_ptr")
_PRODUCTS = {"bf16": ("half",), "fp16": ("half",), "fp32": ("tf32", "ieee")}


def compilations(target: str) -> list[Compilation]:
    """Every kernel with every configuration for the target: each dtype, weights given or Gaussian, with bits or not.

    Clips have lengths and evenly spaced frames, streams and channels their usual strides.
    """
    found = [_compilation("route", kernel_backward.route_kernel, "fp32", {"BLOCK": _ROUTE_BLOCK}, (), 4, 2)]
    for dtype, kinds in _PRODUCTS.items():
        for kind in kinds:
            if (target, kind) not in configs.FORWARD or (target, dtype) == ("sm_75", "bf16"):
                continue
            product = dtype if kind == "half" else kind
            for given in (False, True):
                source = "weights" if given else "gaussian"
                absent = _GAUSSIAN if given else ("weights_ptr",)
                for bits in (True, False):
                    for config in configs.forward(target, kind, bits):
                        keep, folded, rows = configs.fold(target, kind, config)
                        fixed = {"KEEP": keep, "FOLD": folded, "ROWS": rows}
                        name = f"forward[{product},{source},{'bits,' if bits else ''}{config.block_t}]"
                        nothing = absent if bits else (*absent, "bits_ptr")
                        found.append(_product(name, kernel.pool_forward_kernel, dtype, kind, fixed, nothing, config))
                windows = _GAUSSIAN if given else ()
                for config in configs.frames(target, kind):
                    name = f"backward_frames[{product},{source},{config.block_t}]"
                    found.append(
                        _product(name, kernel_backward.backward_frames_kernel, dtype, kind, {}, windows, config)
                    )
                name = f"backward_experts[{product},{source}]"
                experts = configs.experts(target, kind)
                found.append(_product(name, kernel_backward.backward_experts_kernel, dtype, kind, {}, windows, experts))
                summing = configs.summing(target)
                name = f"backward_weights[{product},{source}]"
                fixed = {"BLOCK_T": summing.block_t}
                function = kernel_backward.backward_weights_kernel
                found.append(_compilation(name, function, dtype, fixed, windows, summing.warps, summing.stages))
    return found


def _product(
    name: str, function: Any, dtype: str, kind: str, fixed: dict[str, Any], absent: tuple[str, ...], config: Config
) -> Compilation:
    sizes = {"BLOCK_T": config.block_t, "BLOCK_H": config.block_h, "BLOCK_D": config.block_d}
    fixed = {"PRECISION": _precision(kind), **sizes, **fixed}
    return _compilation(name, function, dtype, fixed, absent, config.warps, config.stages)


def _compilation(
    name: str, function: Any, dtype: str, fixed: dict[str, Any], absent: tuple[str, ...], warps: int, stages: int
) -> Compilation:
    """As `_launched` calls the kernel; `absent` pointers are None, and so are those of other forms of time."""
    names = function.arg_names
    nothing = [arg for arg in (*absent, "times_ptr", "padding_ptr") if arg in names]
    unit = [arg for arg in ("frames_dim_stride", "weight1_dim_stride", "weights_stride") if arg in names]
    constexprs = dict.fromkeys(nothing) | dict.fromkeys(unit, 1) | fixed
    of_dtype = ("state_ptr", "dframes_ptr", "frames_ptr", "weight1_ptr", "bias1_ptr")
    types = {arg: _TYPES.get(arg, f"*{dtype}" if arg in of_dtype else "*fp32") for arg in names if arg.endswith("_ptr")}
    signature = {arg: "constexpr" if arg in constexprs else types.get(arg, "i32") for arg in names}
    strides = [arg for arg in names if arg.endswith("_stride") and arg.startswith(("frames", "weight1"))]
    aligned = [arg for arg in (*types, *strides, "dim", "hidden_dim") if arg in names and arg not in constexprs]
    return Compilation(f"expert_pool.{name}", function, signature, constexprs, warps, stages, tuple(aligned))
