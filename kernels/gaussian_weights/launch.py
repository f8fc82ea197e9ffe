"""Launches the Triton kernels of the Gaussian weights: sizes, strides and the blocks that a device gets.

Times come in three forms. `times` [B, T] are read as they are, a view with stride 0 over clips too; without them valid
frame i of L stands at i / (L - 1). `lengths` [B] make frames at and beyond them padding; `padding` [B, T], True =
ignore, can be had only with `times`, and not with `lengths`. Everything but lengths and padding is in one dtype,
float32 or float64.

B batch, G Gaussians of one clip, T frames.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from ..compilation import Compilation
from . import kernel

# Frames of one step and warps, the smallest that holds the clip. The same on every device and for every dtype: a
# thread has 2 to 8 frames, and nothing but the step's length hides how long memory takes.
CONFIGS = ((64, 1), (256, 1), (1024, 4), (4096, 16))
NUM_STAGES = 1


def config(num_frames: int) -> tuple[int, int]:
    """(frames of one step, warps) for clips of that many frames."""
    return next((choice for choice in CONFIGS if num_frames <= choice[0]), CONFIGS[-1])


def frame_rows(timeline: Tensor | None) -> tuple[Tensor | None, int]:
    """Times or padding [B, T] with the frames of a clip next to each other, and the stride from clip to clip."""
    if timeline is None:
        return None, 0
    if timeline.stride(1) != 1:
        timeline = timeline.contiguous()
    return timeline, timeline.stride(0)


def on_device_of(tensor: Tensor) -> AbstractContextManager[None]:
    """Triton launches on the current device, which need not be the tensors'. Nothing happens on a CPU."""
    return torch.cuda.device_of(tensor)  # type: ignore[no-untyped-call]  # torch's own signature


def weights_forward(
    centers: Tensor,  # [B, G], fraction of the clip
    stds: Tensor,  # [B, G], fraction of the clip
    times: Tensor | None,  # [B, T], fraction of the clip
    lengths: Tensor | None,  # [B] int32 or int64
    padding: Tensor | None,  # [B, T] bool, True = ignore
    num_frames: int,
) -> Tensor:  # [B, G, T]
    """The weights: 1 at the valid frame nearest to the center, 0 for padding."""
    B, G = centers.shape
    weights = torch.empty(B, G, num_frames, dtype=centers.dtype, device=centers.device)
    if weights.numel() == 0:
        return weights
    block, warps = config(num_frames)
    times, times_stride = frame_rows(times)
    padding, padding_stride = frame_rows(padding)
    with on_device_of(centers):
        kernel.weights_forward_kernel[(B * G, -(-num_frames // block))](
            weights,
            centers.contiguous(),
            stds.contiguous(),
            times,
            None if lengths is None else lengths.contiguous(),
            padding,
            G,
            num_frames,
            times_stride,
            padding_stride,
            BLOCK_T=block,
            num_warps=warps,
            num_stages=NUM_STAGES,
        )
    return weights


def weights_backward(
    grad: Tensor,  # [B, G, T]
    centers: Tensor,  # [B, G], fraction of the clip
    stds: Tensor,  # [B, G], fraction of the clip
    times: Tensor | None,  # [B, T], fraction of the clip
    lengths: Tensor | None,  # [B] int32 or int64
    padding: Tensor | None,  # [B, T] bool, True = ignore
) -> tuple[Tensor, Tensor]:  # [B, G] each
    """Gradients of centers and stds; the nearest frame takes its share. What `grad` holds for padding is not read."""
    B, G, T = grad.shape
    dcenters = torch.empty(B, G, dtype=centers.dtype, device=centers.device)
    dstds = torch.empty(B, G, dtype=centers.dtype, device=centers.device)
    if B * G == 0:
        return dcenters, dstds
    block, warps = config(T)
    times, times_stride = frame_rows(times)
    padding, padding_stride = frame_rows(padding)
    with on_device_of(centers):
        kernel.weights_backward_kernel[(B * G,)](
            dcenters,
            dstds,
            grad,
            centers.contiguous(),
            stds.contiguous(),
            times,
            None if lengths is None else lengths.contiguous(),
            padding,
            G,
            T,
            *grad.stride(),
            times_stride,
            padding_stride,
            BLOCK_T=block,
            num_warps=warps,
            num_stages=NUM_STAGES,
        )
    return dcenters, dstds


def windows(
    centers: Tensor,  # [B, G], fraction of the clip
    stds: Tensor,  # [B, G], fraction of the clip
    times: Tensor | None,  # [B, T], fraction of the clip
    lengths: Tensor | None,  # [B] int32 or int64
    padding: Tensor | None,  # [B, T] bool, True = ignore
    num_frames: int,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor]:  # [B, G] each: centers' dtype, int32, int32
    """What a kernel that skips frames needs: the nearest valid frame's time, and first <= t < last in reach.

    Frames in reach are the valid ones with a weight of at least epsilon, all valid ones where epsilon is 0. The window
    starts at the first of them and ends behind the last; (0, 0) and a time of 0 where no frame is valid.
    """
    B, G = centers.shape
    nearest = torch.empty(B, G, dtype=centers.dtype, device=centers.device)
    first = torch.empty(B, G, dtype=torch.int32, device=centers.device)
    last = torch.empty(B, G, dtype=torch.int32, device=centers.device)
    if B * G == 0:
        return nearest, first, last
    block, warps = config(num_frames)
    times, times_stride = frame_rows(times)
    padding, padding_stride = frame_rows(padding)
    with on_device_of(centers):
        kernel.windows_kernel[(B * G,)](
            nearest,
            first,
            last,
            centers.contiguous(),
            stds.contiguous(),
            times,
            None if lengths is None else lengths.contiguous(),
            padding,
            G,
            num_frames,
            times_stride,
            padding_stride,
            EPSILON=float(epsilon),
            BLOCK_T=block,
            num_warps=warps,
            num_stages=NUM_STAGES,
        )
    return nearest, first, last


# Timeline's form -> those of its arguments that the launcher passes as None.
_FORMS = {
    "even": ("times_ptr", "lengths_ptr", "padding_ptr"),
    "lengths": ("times_ptr", "padding_ptr"),
    "times": ("lengths_ptr", "padding_ptr"),
    "times,lengths": ("padding_ptr",),
    "times,padding": ("lengths_ptr",),
}
_TYPES = {"first_ptr": "*i32", "last_ptr": "*i32", "lengths_ptr": "*i64", "padding_ptr": "*i1"}


def compilations(target: str) -> list[Compilation]:
    """Every kernel, form of time and block in float32, the dtype of weights on a GPU; alike for all targets."""
    kernels: tuple[tuple[str, Any, dict[str, Any]], ...] = (
        ("forward", kernel.weights_forward_kernel, {}),
        ("backward", kernel.weights_backward_kernel, {"grad_frame_stride": 1}),
        ("windows", kernel.windows_kernel, {"EPSILON": 1e-8}),
    )
    found = []
    for name, function, fixed in kernels:
        for form, absent in _FORMS.items():
            for block, warps in CONFIGS:
                constexprs = dict.fromkeys(absent, None) | fixed | {"BLOCK_T": block}
                types = {arg: _TYPES.get(arg, "*fp32" if arg.endswith("_ptr") else "i32") for arg in function.arg_names}
                found.append(
                    Compilation(
                        name=f"gaussian_weights.{name}[{form},{block}]",
                        kernel=function,
                        signature=types | dict.fromkeys(constexprs, "constexpr"),
                        constexprs=constexprs,
                        num_warps=warps,
                        num_stages=NUM_STAGES,
                        divisible=tuple(a for a in types if a.endswith("_ptr") and a not in constexprs),
                    )
                )
    return found
