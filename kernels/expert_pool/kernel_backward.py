"""Triton: expert pooling, backward. The hidden layer is not computed again: one bit an element says where it passed.

With `A_t = bits_t * grad_state`: `dx_t = sum_g g_t W1^T A_t`, `dg_t = <x_t, W1^T A_t> + A_t . b1`,
`dW1 = sum g_t A_t (x) x_t`, `db1 = sum g_t A_t`. The bits become an operand of the product in registers, where they are
needed and with no detour through shared memory: for that the compiler wants everything they are made from to be loaded,
the 32 masks too, and gradients of the state in float32, as it fetches nothing narrower ahead of time. `anchor`: see
kernel.py.

B batch, S streams, G routed experts of one clip, T frames, D channels, H hidden, E experts, N blocks of channels.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs
# What Triton hands to a kernel (pointers, blocks, scalars on the device) has no Python type.

from __future__ import annotations

import triton
import triton.language as tl

from ..gaussian_weights.kernel import clip_length, frame_times
from .kernel import add_product, narrow, share_start, window


@triton.jit
def unpack_bits(words, bit_masks, values):
    """Words [R, W] and values [1, 32 W] -> [R, 32 W]: the value where its bit is set, else 0."""
    R: tl.constexpr = words.shape[0]
    W: tl.constexpr = words.shape[1]
    bit = words[:, :, None] & bit_masks[None, None, :]
    return tl.where(tl.reshape(bit, [R, 32 * W]) != 0, values, 0.0)


@triton.jit(do_not_specialize=["num_pairs"])
def route_kernel(
    pairs_ptr,  # [B G] int32, numbers of the routed experts (clip, routed) in order of their expert
    starts_ptr,  # [E + 1] int32, where in pairs each expert's begin
    masks_ptr,  # [32] int32, 1 << j
    indices_ptr,  # [B G]
    num_pairs,
    BLOCK: tl.constexpr,
):
    """One program an expert: a counting sort that keeps the order, with no value read by the host."""
    expert = tl.program_id(0)
    position = tl.arange(0, BLOCK)
    before = tl.zeros([BLOCK], tl.int32)
    for block in range(0, num_pairs, BLOCK):
        inside = position < num_pairs - block
        index = tl.load(indices_ptr + block + position, mask=inside, other=0)
        before += (inside & (index < expert)).to(tl.int32)
    end = tl.sum(before, 0)
    tl.store(starts_ptr + expert, end)
    for block in range(0, num_pairs, BLOCK):
        inside = position < num_pairs - block
        index = tl.load(indices_ptr + block + position, mask=inside, other=0)
        mine = (inside & (index == expert)).to(tl.int32)
        tl.store(pairs_ptr + end + tl.cumsum(mine, 0) - 1, block + position, mask=mine != 0)
        end += tl.sum(mine, 0)
    if expert == tl.num_programs(0) - 1:
        tl.store(starts_ptr + expert + 1, end)
        tl.store(masks_ptr + tl.arange(0, 32), 1 << tl.arange(0, 32))


@triton.jit(do_not_specialize=["num_clips", "num_streams", "num_routed", "num_frames", "padding_stride"])
def backward_frames_kernel(
    dframes_ptr,  # [B, S, T, D]
    partial_ptr,  # [N, B, S, G, T], <x_t, W1^T A_t> over one block of channels; frames outside the window not written
    masks_ptr,  # [32] int32, 1 << j
    grad_state_ptr,  # [B, S, G, H]
    bits_ptr,  # [B, S, G, T, ceil(H/32)]
    frames_ptr,  # [B, S, T, D]
    weight1_ptr,  # [E, H, D]
    indices_ptr,  # [B, G]
    weights_ptr,  # [B, G, T]
    first_ptr,  # [B, G] or None
    last_ptr,  # [B, G] or None
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
    padding_stride,
    PRECISION: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """One program a block of frames and channels of one stream; it goes through the clip's routed experts in order."""
    wide: tl.constexpr = partial_ptr.dtype.element_ty
    element: tl.constexpr = frames_ptr.dtype.element_ty
    num_channel_blocks = tl.cdiv(dim, BLOCK_D)
    num_frame_blocks = tl.cdiv(num_frames, BLOCK_T)
    channel_block = tl.program_id(0) % num_channel_blocks
    frame_block = tl.program_id(0) // num_channel_blocks % num_frame_blocks
    sequence = (tl.program_id(0) // num_channel_blocks // num_frame_blocks).to(tl.int64)  # (clip, stream)
    stream = sequence % num_streams
    clip = sequence // num_streams

    if padding_ptr is not None:
        padding_ptr += clip * padding_stride
    length = clip_length(clip, num_frames, lengths_ptr)
    frame_start = frame_block * BLOCK_T
    frame = frame_start + tl.arange(0, BLOCK_T)
    channel = channel_block * BLOCK_D + tl.arange(0, BLOCK_D)
    num_words = (hidden_dim + 31) // 32
    _, valid = frame_times(frame, length, None, padding_ptr, wide)
    frames_ptr += clip * frames_clip_stride + stream * frames_stream_stride
    bit_masks = tl.load(masks_ptr + tl.arange(0, 32))
    x = tl.load(
        frames_ptr + (frame[:, None].to(tl.int64) * frames_stride + channel[None, :].to(tl.int64) * frames_dim_stride),
        mask=valid[:, None] & (channel < dim)[None, :],
        other=0.0,
    )
    dframes = tl.zeros([BLOCK_T, BLOCK_D], wide)
    for routed in range(num_routed):
        pair = clip * num_routed + routed
        row = sequence * num_routed + routed
        first, last = window(pair, length, first_ptr, last_ptr)
        if (frame_start < last) & (frame_start + BLOCK_T > first):
            expert = tl.load(indices_ptr + pair).to(tl.int64)
            anchor = tl.minimum(expert, 0).to(tl.int32)
            here = frame_start + anchor + tl.arange(0, BLOCK_T)
            hidden = tl.arange(0, BLOCK_H)
            bit_masks = tl.load(masks_ptr + tl.arange(0, 32) + anchor)
            word = anchor + tl.arange(0, BLOCK_H // 32)
            _, valid = frame_times(here, length, None, padding_ptr, wide)
            counted = valid & (here >= first) & (here < last)
            w_ptrs = weight1_ptr + (
                expert * weight1_expert_stride
                + (hidden + anchor)[:, None].to(tl.int64) * weight1_hidden_stride
                + (channel + 16 * anchor)[None, :].to(tl.int64) * weight1_dim_stride
            )
            words_ptrs = bits_ptr + ((row * num_frames + here) * num_words)[:, None] + word[None, :]
            upstream_ptrs = grad_state_ptr + row * hidden_dim + (hidden + anchor)
            back = tl.zeros([BLOCK_T, BLOCK_D], wide)  # W1^T A_t
            for start in range(0, hidden_dim, BLOCK_H):
                inside = hidden < hidden_dim - start
                words = tl.load(words_ptrs, mask=counted[:, None] & (word < num_words - start // 32)[None, :], other=0)
                upstream = tl.load(upstream_ptrs, mask=inside, other=0.0)
                w = tl.load(w_ptrs, mask=inside[:, None] & (channel < dim)[None, :], other=0.0)
                passed = unpack_bits(words, bit_masks, upstream[None, :])
                back = add_product(narrow(passed, element), w, back, PRECISION)
                words_ptrs += BLOCK_H // 32
                upstream_ptrs += BLOCK_H
                # 32 bits do: what lies further apart was copied. 64 would spill registers on sm_90.
                w_ptrs += BLOCK_H * weight1_hidden_stride
            weight_ptrs = (
                weights_ptr
                + (clip * weights_clip_stride + routed * weights_routed_stride)
                + here.to(tl.int64) * weights_stride
            )
            weight = tl.load(weight_ptrs, mask=counted, other=0.0).to(wide)
            dframes += back * weight[:, None]
            partial_row = channel_block.to(tl.int64) * num_clips * num_streams * num_routed + row
            tl.store(partial_ptr + partial_row * num_frames + here, tl.sum(x.to(wide) * back, 1), mask=counted)
    frame = frame_start + tl.minimum(num_routed, 0) + tl.arange(0, BLOCK_T)
    tl.store(
        dframes_ptr + (sequence * num_frames + frame)[:, None] * dim + channel[None, :],
        narrow(dframes, dframes_ptr.dtype.element_ty),
        mask=(frame < num_frames)[:, None] & (channel < dim)[None, :],
    )


@triton.jit(
    do_not_specialize=["num_clips", "num_streams", "num_routed", "num_frames", "num_channel_blocks", "padding_stride"]
)
def backward_weights_kernel(
    dweights_ptr,  # [B, G, T]
    passed_ptr,  # [blocks of T, B, S, G, H], sum of g_t bits_t over one block of frames
    partial_ptr,  # [N, B, S, G, T]
    grad_mass_ptr,  # [B, G]
    masks_ptr,  # [32]
    grad_state_ptr,  # [B, S, G, H]
    bits_ptr,  # [B, S, G, T, ceil(H/32)]
    bias1_ptr,  # [E, H]
    indices_ptr,  # [B, G]
    weights_ptr,  # [B, G, T]
    first_ptr,  # [B, G] or None
    last_ptr,  # [B, G] or None
    lengths_ptr,  # [B] or None
    padding_ptr,  # [B, T] or None
    num_clips,
    num_streams,
    num_routed,
    num_frames,
    hidden_dim,
    num_channel_blocks,
    weights_clip_stride,
    weights_routed_stride,
    weights_stride,
    padding_stride,
    BLOCK_T: tl.constexpr,
):
    """One program a routed expert and block of frames; what both dg_t and db1 need of the bits, read once."""
    wide: tl.constexpr = partial_ptr.dtype.element_ty
    num_frame_blocks = tl.cdiv(num_frames, BLOCK_T)
    frame_block = tl.program_id(0) % num_frame_blocks
    pair = (tl.program_id(0) // num_frame_blocks).to(tl.int64)
    routed = pair % num_routed
    clip = pair // num_routed
    num_rows = num_clips.to(tl.int64) * num_streams * num_routed
    if padding_ptr is not None:
        padding_ptr += clip * padding_stride
    length = clip_length(clip, num_frames, lengths_ptr)
    frame = frame_block * BLOCK_T + tl.arange(0, BLOCK_T)
    _, valid = frame_times(frame, length, None, padding_ptr, wide)
    first, last = window(pair, length, first_ptr, last_ptr)
    counted = valid & (frame >= first) & (frame < last)
    weights_ptr += clip * weights_clip_stride + routed * weights_routed_stride
    weight = tl.load(weights_ptr + frame.to(tl.int64) * weights_stride, mask=counted, other=0.0).to(wide)
    bias1_ptr += tl.load(indices_ptr + pair).to(tl.int64) * hidden_dim
    bit_masks = tl.load(masks_ptr + tl.arange(0, 32))
    num_words = (hidden_dim + 31) // 32
    dweight = tl.zeros([BLOCK_T], wide)
    for stream in range(num_streams):
        row = (clip * num_streams + stream) * num_routed + routed
        for block in range(num_channel_blocks):
            partial = partial_ptr + (block * num_rows + row) * num_frames + frame
            dweight += tl.load(partial, mask=counted, other=0.0)
        through_bias = tl.zeros([BLOCK_T, 32], wide)
        for word in range(num_words):
            hidden = word * 32 + tl.arange(0, 32)
            inside = hidden < hidden_dim
            words = tl.load(bits_ptr + (row * num_frames + frame) * num_words + word, mask=counted, other=0)
            upstream = tl.load(grad_state_ptr + row * hidden_dim + hidden, mask=inside, other=0.0)
            bias = tl.load(bias1_ptr + hidden, mask=inside, other=0.0).to(wide)
            through_bias += unpack_bits(words[:, None], bit_masks, (upstream * bias)[None, :])
            passed = tl.sum(unpack_bits(words[:, None], bit_masks, weight[:, None]), 0)
            tl.store(passed_ptr + (frame_block * num_rows + row) * hidden_dim + hidden, passed, mask=inside)
        dweight += tl.sum(through_bias, 1)
    # The mass asks the same of every frame that counts.
    dweight = tl.where(counted, dweight + tl.load(grad_mass_ptr + pair), 0.0)
    tl.store(dweights_ptr + pair * num_frames + frame, dweight, mask=frame < num_frames)


@triton.jit(
    do_not_specialize=[
        "num_experts",
        "num_clips",
        "num_streams",
        "num_routed",
        "num_frames",
        "num_chunks",
        "num_passed",
        "padding_stride",
    ]
)
def backward_experts_kernel(
    dweight1_ptr,  # [splits, E, H, D]
    dbias1_ptr,  # [splits, E, H]
    masks_ptr,  # [32]
    grad_state_ptr,  # [B, S, G, H]
    bits_ptr,  # [B, S, G, T, ceil(H/32)]
    passed_ptr,  # [blocks of T, B, S, G, H]
    frames_ptr,  # [B, S, T, D]
    pairs_ptr,  # [B G]
    starts_ptr,  # [E + 1]
    weights_ptr,  # [B, G, T]
    first_ptr,  # [B, G] or None
    last_ptr,  # [B, G] or None
    lengths_ptr,  # [B] or None
    padding_ptr,  # [B, T] or None
    num_experts,
    num_clips,
    num_streams,
    num_routed,
    num_frames,
    dim,
    hidden_dim,
    num_chunks,
    num_passed,  # blocks of T in passed
    frames_clip_stride,
    frames_stream_stride,
    frames_stride,
    frames_dim_stride,
    weights_clip_stride,
    weights_routed_stride,
    weights_stride,
    padding_stride,
    PRECISION: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """One program a block of W1 of one expert and one split of the expert's work.

    Work is counted in items (routed expert, stream, chunk of its window), which the splits share equally.
    """
    wide: tl.constexpr = passed_ptr.dtype.element_ty
    element: tl.constexpr = frames_ptr.dtype.element_ty
    num_channel_blocks = tl.cdiv(dim, BLOCK_D)
    num_hidden_blocks = tl.cdiv(hidden_dim, BLOCK_H)
    channel_block = tl.program_id(0) % num_channel_blocks
    hidden_block = tl.program_id(0) // num_channel_blocks % num_hidden_blocks
    expert = (tl.program_id(0) // num_channel_blocks // num_hidden_blocks).to(tl.int64)
    split = tl.program_id(1)
    num_rows = num_clips.to(tl.int64) * num_streams * num_routed

    start = tl.load(starts_ptr + expert)
    num_items = (tl.load(starts_ptr + expert + 1) - start) * num_streams * num_chunks
    share = num_items // tl.num_programs(1)
    rest = num_items % tl.num_programs(1)
    item_start = share * split + tl.minimum(split, rest)
    item_end = item_start + share + (split < rest).to(tl.int32)

    channel = channel_block * BLOCK_D + tl.arange(0, BLOCK_D)
    hidden = hidden_block * BLOCK_H + tl.arange(0, BLOCK_H)
    word = hidden_block * (BLOCK_H // 32) + tl.arange(0, BLOCK_H // 32)
    num_words = (hidden_dim + 31) // 32
    bit_masks = tl.load(masks_ptr + tl.arange(0, 32))
    dweight1 = tl.zeros([BLOCK_H, BLOCK_D], wide)
    dbias1 = tl.zeros([BLOCK_H], wide)
    for item in range(item_start, item_end):
        chunk = item % num_chunks
        stream = item // num_chunks % num_streams
        pair = tl.load(pairs_ptr + start + item // num_chunks // num_streams).to(tl.int64)
        routed = pair % num_routed
        clip = pair // num_routed
        row = (clip * num_streams + stream) * num_routed + routed
        upstream = tl.load(grad_state_ptr + row * hidden_dim + hidden, mask=hidden < hidden_dim, other=0.0)
        if (chunk == 0) & (channel_block == 0):
            for block in range(num_passed):
                passed = passed_ptr + (block * num_rows + row) * hidden_dim + hidden
                dbias1 += upstream * tl.load(passed, mask=hidden < hidden_dim, other=0.0)
        length = clip_length(clip, num_frames, lengths_ptr)
        first, last = window(pair, length, first_ptr, last_ptr)
        num_blocks = tl.cdiv(last - first, BLOCK_T)
        chunk_first = first + share_start(num_blocks, chunk, num_chunks) * BLOCK_T
        chunk_last = tl.minimum(first + share_start(num_blocks, chunk + 1, num_chunks) * BLOCK_T, last)
        sequence_ptr = frames_ptr + clip * frames_clip_stride + stream.to(tl.int64) * frames_stream_stride
        pair_weights_ptr = weights_ptr + clip * weights_clip_stride + routed * weights_routed_stride
        for frame_start in range(chunk_first, chunk_last, BLOCK_T):
            frame = frame_start + tl.arange(0, BLOCK_T)
            counted = frame < chunk_last
            if padding_ptr is not None:
                counted &= tl.load(padding_ptr + clip * padding_stride + frame, mask=counted, other=1) == 0
            weight = tl.load(pair_weights_ptr + frame.to(tl.int64) * weights_stride, mask=counted, other=0.0).to(wide)
            words = tl.load(
                bits_ptr + ((row * num_frames + frame) * num_words)[:, None] + word[None, :],
                mask=counted[:, None] & (word < num_words)[None, :],
                other=0,
            )
            x = tl.load(
                sequence_ptr
                + (frame[:, None].to(tl.int64) * frames_stride + channel[None, :].to(tl.int64) * frames_dim_stride),
                mask=counted[:, None] & (channel < dim)[None, :],
                other=0.0,
            )
            weighted = unpack_bits(words, bit_masks, upstream[None, :]) * weight[:, None]  # g_t A_t
            dweight1 = add_product(tl.trans(narrow(weighted, element)), x, dweight1, PRECISION)

    bank_row = split.to(tl.int64) * num_experts + expert
    tl.store(
        dweight1_ptr + (bank_row * hidden_dim + hidden)[:, None] * dim + channel[None, :],
        narrow(dweight1, dweight1_ptr.dtype.element_ty),
        mask=(hidden < hidden_dim)[:, None] & (channel < dim)[None, :],
    )
    if channel_block == 0:
        tl.store(dbias1_ptr + bank_row * hidden_dim + hidden, dbias1, mask=hidden < hidden_dim)
