"""Launches the Triton kernels of expert pooling: sizes, strides, and the buffers that programs share a sum through.

A sum that several programs take is written in parts and added in a fixed order, so that results repeat to the last
bit. How many parts there are follows from shapes and the device alone, and nothing waits for the device: all of it
can be captured in a CUDA graph.

B batch, S streams, G routed experts of one clip, T frames, D channels, H hidden, E experts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..gaussian_weights.launch import frame_rows, on_device_of, weights_backward, weights_forward, windows
from . import configs, kernel, kernel_backward
from .configs import blocks
from .layout import laid_out, near, rounded

ROUTE_BLOCK = 1024
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
    kind, granule = configs.kind(frames.dtype, target), configs.granule(target)
    given_hidden, (D, H) = H, (rounded(D, granule), rounded(H, granule))
    frames, weight1 = laid_out(frames, (D,), granule), laid_out(weight1, (H, D), granule)
    bias1, weights = laid_out(bias1, (H,), granule), None if weights is None else _in_rows(weights)
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
            PRECISION=precision(kind),
            KEEP=keep,
            FOLD=folded,
            ROWS=rows,
            BLOCK_T=config.block_t,
            BLOCK_H=config.block_h,
            BLOCK_D=config.block_d,
            num_warps=config.warps,
            num_stages=config.stages,
        )
    return _cut(_added(state, frames.dtype), (given_hidden,)), _added(mass, wide), bits


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
    B, S, T, D = frames.shape
    E, H, _ = weight1.shape
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
    kind, granule = configs.kind(frames.dtype, target), configs.granule(target)
    given_sizes, (D, H) = (H, D), (rounded(D, granule), rounded(H, granule))
    frames, weight1 = laid_out(frames, (D,), granule), near(laid_out(weight1, (H, D), granule))
    bias1, g = laid_out(bias1, (H,), granule), _in_rows(g)
    grad_state = laid_out(grad_state.to(wide), (H,), granule).contiguous()
    pairs, starts, masks = _route(indices, E)
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
            PRECISION=precision(kind),
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
            PRECISION=precision(kind),
            BLOCK_T=config.block_t,
            BLOCK_H=config.block_h,
            BLOCK_D=config.block_d,
            num_warps=config.warps,
            num_stages=config.stages,
        )
    shared = (
        _cut(dframes, given_sizes[1:]),
        _cut(_added(dweight1, weight1.dtype), given_sizes),
        _cut(_added(dbias1, bias1.dtype), given_sizes[:1]),
    )
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
            pairs, starts, masks, indices.contiguous(), indices.numel(), BLOCK=ROUTE_BLOCK, num_warps=4
        )
    return pairs, starts, masks


def precision(kind: str) -> str:
    """How a product of float32 is taken; without meaning for other dtypes."""
    return "tf32" if kind == "tf32" else "ieee"


def _in_rows(weights: Tensor) -> Tensor:
    """Weights of one Gaussian without gaps between frames."""
    return weights if weights.stride(-1) == 1 else weights.contiguous()


def _cut(x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Without what `laid_out` filled up its last dimensions with."""
    for place, size in enumerate(sizes, x.dim() - len(sizes)):
        x = x.narrow(place, 0, size)
    return x.contiguous()


def _added(parts: Tensor, dtype: torch.dtype) -> Tensor:
    """The sum over the first dimension, in that dtype; torch adds in a fixed order."""
    return parts.squeeze(0).to(dtype) if parts.shape[0] == 1 else parts.sum(0).to(dtype)
