"""Triton: the Gaussian weights, their gradients, and the window of frames that a Gaussian reaches.

Device functions that other kernels share (all element-wise: scalars and blocks of any shape broadcast; float32 or
float64; what they give for padding means nothing, the caller masks it):

    clip_length(clip, num_frames, lengths_ptr) -> length          frames at `length` and beyond are padding
    frame_times(frame, length, times_ptr, padding_ptr, dtype) -> (time, valid)
        `times_ptr` and `padding_ptr` point at the clip's own row, its frames next to each other, or are None
    gaussian_weight(time, nearest, center, std) -> weight
    gaussian_weight_slopes(time, nearest, center, std) -> (d weight / d center, d weight / d std)

B batch, G Gaussians of one clip, T frames.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs
# What Triton hands to a kernel (pointers, blocks, scalars on the device) has no Python type.

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def clip_length(clip, num_frames, lengths_ptr):
    """How many frames at the start of the clip may be valid: its length, or T where lengths are not given."""
    return num_frames if lengths_ptr is None else tl.minimum(tl.load(lengths_ptr + clip), num_frames).to(tl.int32)


@triton.jit
def even_time(frame, length, dtype: tl.constexpr):
    """Time of frame i of L evenly spaced ones, i / (L - 1) correctly rounded."""
    frame, last = frame.to(dtype), tl.maximum(length - 1, 1).to(dtype)
    # In float32 a plain / is an approximate division; div_rn knows no float64, whose / is exact.
    return tl.div_rn(frame, last) if dtype == tl.float32 else frame / last


@triton.jit
def frame_times(frame, length, times_ptr, padding_ptr, dtype: tl.constexpr):
    """Time of each frame and whether it is valid; times of padding are never read, as they may hold NaN."""
    valid = frame < length
    if padding_ptr is not None:
        valid = valid & (tl.load(padding_ptr + frame, mask=valid, other=1) == 0)
    if times_ptr is None:
        time = even_time(frame, length, dtype)
    else:
        time = tl.load(times_ptr + frame, mask=valid, other=0.0).to(dtype)
    return time, valid


@triton.jit
def one_per(std):
    """1 / std, of a std so small that it overflows one that does not: either way only the nearest frame is seen."""
    floor: tl.constexpr = 2.0**-1020 if std.dtype.is_fp64() else 2.0**-124
    return 1.0 / tl.where(tl.abs(std) < floor, floor, std)


@triton.jit
def gaussian_weight(time, nearest, center, std):
    """g = exp(((nearest - center)^2 - (time - center)^2) / (2 std^2)), exactly 1 at the nearest frame's time."""
    per_std = one_per(std)
    drop = ((time - nearest) * per_std) * (((time - center) + (nearest - center)) * per_std)
    # Frames whose distances round to the same number may stand nearer than the nearest; NaN is not below 0 and stays.
    drop = tl.where(drop < 0.0, 0.0, drop)
    return tl.where(time == nearest, 1.0, tl.exp(-0.5 * drop))


@triton.jit
def gaussian_weight_slopes(time, nearest, center, std):
    """Derivatives of the weight by center and by std."""
    per_std = one_per(std)
    from_nearest = (time - nearest) * per_std
    drop = from_nearest * (((time - center) + (nearest - center)) * per_std)
    weight = gaussian_weight(time, nearest, center, std)
    # Around a very narrow Gaussian the factors overflow, and 0 * inf would be NaN.
    nothing = (weight == 0.0) | (time == nearest)
    by_center = tl.where(nothing, 0.0, weight * (from_nearest * per_std))
    by_std = tl.where(nothing, 0.0, weight * (drop * per_std))
    return by_center, by_std


@triton.jit
def nearest_time(center, length, times_ptr, padding_ptr, BLOCK_T: tl.constexpr):
    """Time of the first valid frame nearest to the center, 0 where no frame is valid."""
    dtype: tl.constexpr = center.dtype
    if times_ptr is None:
        # One of the two frames around the center: nothing to scan. Clamped as numbers with a fraction, since a huge
        # or NaN center has no integer.
        last = tl.maximum(length - 1, 0)
        before = tl.minimum(tl.maximum(center * last, 0.0), last.to(dtype)).to(tl.int32)
        time_before = even_time(before, length, dtype)
        time_after = even_time(tl.minimum(before + 1, last), length, dtype)
        nearest = tl.where(tl.abs(time_after - center) < tl.abs(time_before - center), time_after, time_before)
    else:
        # Each lane keeps the nearest of its own frames, so that the lanes meet once and not in every block.
        no_frame: tl.constexpr = 2**31 - 1
        least = tl.full([BLOCK_T], float("inf"), dtype)
        found = tl.full([BLOCK_T], no_frame, tl.int32)
        found_time = tl.zeros([BLOCK_T], dtype)
        for start in range(0, length, BLOCK_T):
            frame = start + tl.arange(0, BLOCK_T)
            time, valid = frame_times(frame, length, times_ptr, padding_ptr, dtype)
            distance = tl.where(valid, tl.abs(time - center), float("inf"))
            nearer = distance < least
            least = tl.where(nearer, distance, least)
            found = tl.where(nearer, frame, found)
            found_time = tl.where(nearer, time, found_time)
        first = tl.min(tl.where(least == tl.min(least, 0), found, no_frame), 0)
        nearest = tl.sum(tl.where(found == first, found_time, 0.0), 0)
    return nearest


@triton.jit
def weights_forward_kernel(
    weights_ptr,  # [B, G, T]
    centers_ptr,  # [B, G]
    stds_ptr,  # [B, G]
    times_ptr,  # [B, T] or None
    lengths_ptr,  # [B] or None
    padding_ptr,  # [B, T] or None
    num_gaussians,
    num_frames,
    times_stride,
    padding_stride,
    BLOCK_T: tl.constexpr,
):
    """One program a Gaussian and block of frames; each finds the nearest frame for itself."""
    row = tl.program_id(0).to(tl.int64)
    clip = row // num_gaussians
    if times_ptr is not None:
        times_ptr += clip * times_stride
    if padding_ptr is not None:
        padding_ptr += clip * padding_stride
    length = clip_length(clip, num_frames, lengths_ptr)
    center = tl.load(centers_ptr + row)
    std = tl.load(stds_ptr + row)
    nearest = nearest_time(center, length, times_ptr, padding_ptr, BLOCK_T)
    frame = tl.program_id(1) * BLOCK_T + tl.arange(0, BLOCK_T)
    time, valid = frame_times(frame, length, times_ptr, padding_ptr, center.dtype)
    weight = tl.where(valid, gaussian_weight(time, nearest, center, std), 0.0)
    tl.store(weights_ptr + row * num_frames + frame, weight, mask=frame < num_frames)


@triton.jit
def weights_backward_kernel(
    dcenters_ptr,  # [B, G]
    dstds_ptr,  # [B, G]
    grad_ptr,  # [B, G, T]
    centers_ptr,  # [B, G]
    stds_ptr,  # [B, G]
    times_ptr,  # [B, T] or None
    lengths_ptr,  # [B] or None
    padding_ptr,  # [B, T] or None
    num_gaussians,
    num_frames,
    grad_clip_stride,
    grad_gaussian_stride,
    grad_frame_stride,
    times_stride,
    padding_stride,
    BLOCK_T: tl.constexpr,
):
    """One program a Gaussian: the sum over its frames is always taken in the same order."""
    row = tl.program_id(0).to(tl.int64)
    clip = row // num_gaussians
    grad_ptr += clip * grad_clip_stride + (row % num_gaussians) * grad_gaussian_stride
    if times_ptr is not None:
        times_ptr += clip * times_stride
    if padding_ptr is not None:
        padding_ptr += clip * padding_stride
    length = clip_length(clip, num_frames, lengths_ptr)
    center = tl.load(centers_ptr + row)
    std = tl.load(stds_ptr + row)
    nearest = nearest_time(center, length, times_ptr, padding_ptr, BLOCK_T)
    dcenter = tl.zeros([BLOCK_T], center.dtype)
    dstd = tl.zeros([BLOCK_T], center.dtype)
    for start in range(0, length, BLOCK_T):
        frame = start + tl.arange(0, BLOCK_T)
        time, valid = frame_times(frame, length, times_ptr, padding_ptr, center.dtype)
        grad = tl.load(grad_ptr + frame.to(tl.int64) * grad_frame_stride, mask=valid, other=0.0).to(center.dtype)
        by_center, by_std = gaussian_weight_slopes(time, nearest, center, std)
        dcenter += tl.where(valid, grad * by_center, 0.0)
        dstd += tl.where(valid, grad * by_std, 0.0)
    tl.store(dcenters_ptr + row, tl.sum(dcenter, 0))
    tl.store(dstds_ptr + row, tl.sum(dstd, 0))


@triton.jit
def windows_kernel(
    nearest_ptr,  # [B, G]
    first_ptr,  # [B, G]
    last_ptr,  # [B, G]
    centers_ptr,  # [B, G]
    stds_ptr,  # [B, G]
    times_ptr,  # [B, T] or None
    lengths_ptr,  # [B] or None
    padding_ptr,  # [B, T] or None
    num_gaussians,
    num_frames,
    times_stride,
    padding_stride,
    EPSILON: tl.constexpr,
    BLOCK_T: tl.constexpr,
):
    """One program a Gaussian. The weight itself is compared, so that window and weights agree to the last bit."""
    row = tl.program_id(0).to(tl.int64)
    clip = row // num_gaussians
    if times_ptr is not None:
        times_ptr += clip * times_stride
    if padding_ptr is not None:
        padding_ptr += clip * padding_stride
    length = clip_length(clip, num_frames, lengths_ptr)
    center = tl.load(centers_ptr + row)
    std = tl.load(stds_ptr + row)
    nearest = nearest_time(center, length, times_ptr, padding_ptr, BLOCK_T)
    first = tl.zeros([BLOCK_T], tl.int32) + num_frames
    last = tl.zeros([BLOCK_T], tl.int32)
    for start in range(0, length, BLOCK_T):
        frame = start + tl.arange(0, BLOCK_T)
        time, valid = frame_times(frame, length, times_ptr, padding_ptr, center.dtype)
        # Not `>=`: a NaN is in reach, lest it be skipped unseen.
        reached = valid & ~(gaussian_weight(time, nearest, center, std) < EPSILON)
        first = tl.where(reached, tl.minimum(first, frame), first)
        last = tl.where(reached, frame + 1, last)
    end = tl.max(last, 0)
    tl.store(nearest_ptr + row, nearest)
    tl.store(first_ptr + row, tl.minimum(tl.min(first, 0), end))
    tl.store(last_ptr + row, end)
