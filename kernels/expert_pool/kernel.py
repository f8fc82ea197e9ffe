"""Triton: expert pooling, forward. Matrix product, bias, ReLU, weighting and the sum over time in one kernel.

A block of the hidden layer is frames by hidden units. To add up its frames at once would move every element between
threads, so each thread adds the rows that it holds (`fold`), and the threads meet once, after the last block.

Addresses hang on an `anchor`, a 0 that the compiler cannot know to be one. Otherwise it takes them out of the loop over
blocks, one 64-bit address an access, and has no registers left for the product. Along channels it counts 16 times, as
neighbours are loaded together only where addresses are known to be aligned.

B batch, S streams, G routed experts of one clip, T frames, D channels, H hidden, E experts, C chunks of a window.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs
# What Triton hands to a kernel (pointers, blocks, scalars on the device) has no Python type.

from __future__ import annotations

import triton
import triton.language as tl

from .. import runtime
from ..gaussian_weights.kernel import clip_length, frame_times, gaussian_weight

INTERPRETED = tl.constexpr(runtime.INTERPRETED)


@triton.jit
def add_product(a, b, acc, PRECISION: tl.constexpr):
    """acc + a b. The interpreter would multiply bfloat16 as the integers it holds; float32 has the same product."""
    if INTERPRETED and a.dtype == tl.bfloat16:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, acc, input_precision=PRECISION)


@triton.jit
def narrow(x, dtype: tl.constexpr):
    """x in that dtype, to the nearest: for bfloat16 the interpreter would cut digits off, so they are rounded here."""
    if INTERPRETED and dtype == tl.bfloat16:
        digits = x.to(tl.float32).to(tl.uint32, bitcast=True)
        x = (digits + 0x7FFF + ((digits >> 16) & 1)).to(tl.float32, bitcast=True)
    return x.to(dtype)


@triton.jit
def window(pair, length, first_ptr, last_ptr):
    """Frames first <= t < last of the routed expert number `pair` that count: a stored window, or the whole clip."""
    if first_ptr is None:
        first = length * 0
        last = length
    else:
        first = tl.load(first_ptr + pair)
        last = tl.load(last_ptr + pair)
    return first, last


@triton.jit
def share_start(num_blocks, chunk, num_chunks):
    """Where a chunk begins that shares the blocks with others. Of blocks times chunks 32 bits may be too few."""
    return num_blocks // num_chunks * chunk + tl.minimum(chunk, num_blocks % num_chunks)


@triton.jit
def fold(block, KEEP: tl.constexpr, FOLD: tl.constexpr, ROWS: tl.constexpr):
    """[BLOCK_T, BLOCK_H] -> [KEEP * ROWS, BLOCK_H]: rows r = ((i KEEP + k) FOLD + f) ROWS + j added over i and f."""
    BLOCK_T: tl.constexpr = block.shape[0]
    BLOCK_H: tl.constexpr = block.shape[1]
    block = tl.reshape(block, [BLOCK_T // (KEEP * FOLD * ROWS), KEEP, FOLD, ROWS, BLOCK_H])
    return tl.reshape(tl.sum(tl.sum(block, 2), 0), [KEEP * ROWS, BLOCK_H])


@triton.jit
def pack_bits(positive):
    """[BLOCK_T, BLOCK_H] of bool -> [BLOCK_T, BLOCK_H / 32] int32, element 32 w + j in bit j of word w."""
    BLOCK_T: tl.constexpr = positive.shape[0]
    BLOCK_H: tl.constexpr = positive.shape[1]
    # Bit 8 i + 2 j + k in steps, so that where a thread holds two neighbours of every eight, as after an NVIDIA
    # matrix product, all but the shift by 2 j is by constants.
    bit = tl.reshape(positive.to(tl.int32), [BLOCK_T, BLOCK_H // 32, 4, 4, 2])
    bit = tl.sum(bit << tl.arange(0, 2)[None, None, None, None, :], 4)
    bit = tl.sum(bit << (8 * tl.arange(0, 4))[None, None, :, None], 2)
    return tl.sum(bit << (2 * tl.arange(0, 4))[None, None, :], 2)


@triton.jit(
    do_not_specialize=["num_clips", "num_streams", "num_routed", "num_frames", "times_stride", "padding_stride"]
)
def pool_forward_kernel(
    state_ptr,  # [C, B, S, G, H]
    mass_ptr,  # [C, B, G]
    bits_ptr,  # [B, S, G, T, ceil(H/32)] or None
    frames_ptr,  # [B, S, T, D]
    weight1_ptr,  # [E, H, D]
    bias1_ptr,  # [E, H]
    indices_ptr,  # [B, G]
    weights_ptr,  # [B, G, T] or None
    centers_ptr,  # [B, G] or None
    stds_ptr,  # [B, G] or None
    nearest_ptr,  # [B, G] or None
    first_ptr,  # [B, G] or None
    last_ptr,  # [B, G] or None
    times_ptr,  # [B, T] or None
    lengths_ptr,  # [B] or None
    padding_ptr,  # [B, T] or None
    num_clips,
    num_streams,
    num_routed,
    num_frames,
    dim,
    hidden_dim,
    frames_clip_stride,
    frames_stream_stride,
    frames_stride,
    frames_dim_stride,
    weight1_expert_stride,
    weight1_hidden_stride,
    weight1_dim_stride,
    weights_clip_stride,
    weights_routed_stride,
    weights_stride,
    times_stride,
    padding_stride,
    PRECISION: tl.constexpr,
    KEEP: tl.constexpr,
    FOLD: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """One program a block of hidden units of one routed expert, one stream and one chunk of the expert's window.

    Programs of one routed expert, then of one clip, stand next to each other: they read the same frames. Sizes that
    change from batch to batch are not specialised, so that they compile nothing anew.
    """
    wide: tl.constexpr = mass_ptr.dtype.element_ty
    num_hidden_blocks = tl.cdiv(hidden_dim, BLOCK_H)
    hidden_block = tl.program_id(0) % num_hidden_blocks
    row = (tl.program_id(0) // num_hidden_blocks).to(tl.int64)  # (clip, stream, routed)
    routed = row % num_routed
    stream = row // num_routed % num_streams
    clip = row // num_routed // num_streams
    pair = clip * num_routed + routed
    chunk = tl.program_id(1)

    if times_ptr is not None:
        times_ptr += clip * times_stride
    if padding_ptr is not None:
        padding_ptr += clip * padding_stride
    length = clip_length(clip, num_frames, lengths_ptr)
    first, last = window(pair, length, first_ptr, last_ptr)
    # The window is cut and not the clip: the chunks share the work however narrow the Gaussian is.
    num_blocks = tl.cdiv(last - first, BLOCK_T)
    num_chunks = tl.num_programs(1)
    chunk_start = share_start(num_blocks, chunk, num_chunks)
    chunk_end = share_start(num_blocks, chunk + 1, num_chunks)

    expert = tl.load(indices_ptr + pair).to(tl.int64)
    hidden = hidden_block * BLOCK_H + tl.arange(0, BLOCK_H)
    channel = tl.arange(0, BLOCK_D)
    weight1_ptr += expert * weight1_expert_stride
    bias1_ptr += expert * hidden_dim
    frames_ptr += clip * frames_clip_stride + stream * frames_stream_stride
    if weights_ptr is None:
        center = tl.load(centers_ptr + pair)
        std = tl.load(stds_ptr + pair)
        nearest = tl.load(nearest_ptr + pair)
    else:
        weights_ptr += clip * weights_clip_stride + routed * weights_routed_stride

    pooled = tl.zeros([KEEP * ROWS, BLOCK_H], wide)
    mass = tl.zeros([BLOCK_T], wide)
    for block in range(chunk_start, chunk_end):
        anchor = tl.minimum(block, 0)
        frame = first + block * BLOCK_T + tl.arange(0, BLOCK_T)
        time, valid = frame_times(frame, length, times_ptr, padding_ptr, wide)
        counted = valid & (frame < last)
        if weights_ptr is None:
            weight = tl.where(counted, gaussian_weight(time, nearest, center, std), 0.0)
        else:
            weight = tl.load(weights_ptr + frame.to(tl.int64) * weights_stride, mask=counted, other=0.0).to(wide)
        mass += weight
        x_ptrs = frames_ptr + (
            frame[:, None].to(tl.int64) * frames_stride
            + (channel + 16 * anchor)[None, :].to(tl.int64) * frames_dim_stride
        )
        w_ptrs = weight1_ptr + (
            (hidden + anchor)[None, :].to(tl.int64) * weight1_hidden_stride
            + (channel + 16 * anchor)[:, None].to(tl.int64) * weight1_dim_stride
        )
        # Volatile, or it would be held in registers through every block's product.
        bias = tl.load(bias1_ptr + hidden, mask=hidden < hidden_dim, other=0.0, volatile=True)
        preact = tl.zeros([BLOCK_T, BLOCK_H], wide) + bias.to(wide)[None, :]
        for start in range(0, dim, BLOCK_D):
            inside = channel < dim - start
            x = tl.load(x_ptrs, mask=counted[:, None] & inside[None, :], other=0.0)
            w = tl.load(w_ptrs, mask=inside[:, None] & (hidden < hidden_dim)[None, :], other=0.0)
            preact = add_product(x, w, preact, PRECISION)
            x_ptrs += BLOCK_D * tl.cast(frames_dim_stride, tl.int64)
            w_ptrs += BLOCK_D * tl.cast(weight1_dim_stride, tl.int64)
        if bits_ptr is not None:
            num_words = (hidden_dim + 31) // 32
            word = hidden_block * (BLOCK_H // 32) + tl.arange(0, BLOCK_H // 32)
            tl.store(
                bits_ptr + (row * num_frames + frame)[:, None] * num_words + word[None, :],
                pack_bits(preact > 0.0),
                mask=counted[:, None] & (word < num_words)[None, :],
            )
        # As torch does, a NaN passes the ReLU.
        passed = tl.maximum(preact, 0.0, propagate_nan=tl.PropagateNan.ALL)
        pooled += fold(passed * weight[:, None], KEEP, FOLD, ROWS)

    chunk_row = chunk.to(tl.int64) * num_clips * num_streams * num_routed + row
    state = narrow(tl.sum(pooled, 0), state_ptr.dtype.element_ty)
    tl.store(state_ptr + chunk_row * hidden_dim + hidden, state, mask=hidden < hidden_dim)
    if (hidden_block == 0) & (stream == 0):
        tl.store(mass_ptr + chunk.to(tl.int64) * num_clips * num_routed + pair, tl.sum(mass, 0))
