"""Time that an op cannot go below on a named device: its arithmetic at the peak rate, or its bytes at full bandwidth.

Every tensor moves once, experts that nobody chose stay in memory, and every frame is in every Gaussian's reach.

B batch, S streams, T frames, D channels, E experts, K experts in use, H hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

DTYPES = {"bfloat16": 2, "float16": 2, "tf32": 4, "float32": 4}
"""Bytes of one element; tf32 is float32 in memory."""


@dataclass(frozen=True)
class Device:
    """A device by its maker's data sheet.

    Args:
        name: in full.
        target: what the kernels are compiled for.
        matrix: peak TFLOP/s of matrix products by dtype, dense.
        vector: peak TFLOP/s of float32 outside of matrix products.
        bandwidth: of memory, GB/s.
    """

    name: str
    target: str
    matrix: dict[str, float]
    vector: float
    bandwidth: float


def _matrix(half: float, tf32: float, single: float) -> dict[str, float]:
    return {"bfloat16": half, "float16": half, "tf32": tf32, "float32": single}


# Data sheets print tensor-core rates with 2:4 sparsity, except T4's and MI300X's: half of that is dense.
DEVICES = {
    # NVIDIA T4 Tensor Core GPU product brief (PB-09256-001); no bfloat16 or tf32.
    "T4": Device("NVIDIA T4", "sm_75", {"float16": 65.0, "float32": 8.1}, 8.1, 320.0),
    # NVIDIA A100 80GB data sheet, SXM column.
    "A100": Device("NVIDIA A100 SXM 80 GB", "sm_80", _matrix(312.0, 156.0, 19.5), 19.5, 2039.0),
    # NVIDIA H100 data sheet, SXM column.
    "H100": Device("NVIDIA H100 SXM", "sm_90", _matrix(989.5, 494.5, 67.0), 67.0, 3350.0),
    # NVIDIA H200 data sheet, SXM column.
    "H200": Device("NVIDIA H200 SXM", "sm_90", _matrix(989.5, 494.5, 67.0), 67.0, 4800.0),
    # NVIDIA Blackwell architecture technical brief, HGX B200, one GPU.
    "B200": Device("NVIDIA B200 in an HGX B200", "sm_100", _matrix(2250.0, 1100.0, 80.0), 80.0, 8000.0),
    # AMD Instinct MI300X data sheet.
    "MI300X": Device("AMD Instinct MI300X", "gfx942", _matrix(1307.4, 653.7, 163.4), 163.4, 5300.0),
}


@dataclass(frozen=True)
class Shape:
    """Sizes of one call, in the order of a benchmark's axes."""

    B: int
    T: int
    D: int
    E: int
    K: int
    H: int
    S: int = 1


@dataclass(frozen=True)
class Work:
    """What one call of an op must do: FLOPs in matrix products, float32 FLOPs elsewhere, bytes to and from memory.

    A function such as exp counts as one FLOP.
    """

    op: str
    dtype: str
    matrix_flops: int
    vector_flops: int
    bytes: int


@dataclass(frozen=True)
class Roofline:
    """Seconds at the roofline, and what bounds them: "matrix products", "other arithmetic" or "memory"."""

    seconds: float
    bound: str


def roofline(work: Work, device: Device) -> Roofline | None:
    """The least time of the work on the device, all of its units busy at once; None where it lacks the dtype."""
    if work.dtype not in device.matrix:
        return None
    times = {
        "matrix products": work.matrix_flops / (device.matrix[work.dtype] * 1e12),
        "other arithmetic": work.vector_flops / (device.vector * 1e12),
        "memory": work.bytes / (device.bandwidth * 1e9),
    }
    bound = max(times, key=times.__getitem__)
    return Roofline(times[bound], bound)


# FLOPs of one weight: (t - t_n)/s * (t + t_n - 2c)/s, a comparison, a scale, exp; and of its slopes by center and
# std, product with the gradient and sum included.
_WEIGHT = 9
_SLOPES = 10


def gaussian_weights_work(shape: Shape) -> list[Work]:
    """Forward and backward of `gaussian_weights`, float32 with times evenly spaced."""
    profile = 4 * 2 * shape.B * shape.K
    weights = shape.B * shape.K * shape.T
    return [
        Work("gaussian_weights forward", "float32", 0, _WEIGHT * weights, profile + 4 * weights),
        Work("gaussian_weights backward", "float32", 0, (_WEIGHT + _SLOPES) * weights, 2 * profile + 4 * weights),
    ]


def expert_pool_work(shape: Shape, dtype: str) -> list[Work]:
    """Forward and backward of `expert_pool`, for Gaussians and for weights from memory; forward with and without bits.

    The backward pass reads the bits in place of the hidden layer.
    """
    B, S, T, D, H = shape.B, shape.S, shape.T, shape.D, shape.H
    size, wide = DTYPES[dtype], 4
    routed = B * shape.K
    frames = size * B * S * T * D
    used = size * min(shape.E, routed) * H * (D + 1)
    state = size * S * routed * H + wide * routed
    bits = 4 * S * routed * T * -(-H // 32)
    indices = 8 * routed
    hidden = S * routed * T * H
    product = 2 * hidden * D
    works = []
    for form, profile, weight_flops in (
        ("gaussian", wide * 2 * routed, routed * T),
        ("weights", wide * routed * T, 0),
    ):
        read = frames + used + indices + profile
        # Bias, ReLU, weight, sum.
        elementwise = 4 * hidden + _WEIGHT * weight_flops
        for variant, stored in ((form, 0), (f"{form}, bits", bits)):
            works.append(Work(f"expert_pool forward ({variant})", dtype, product, elementwise, read + state + stored))
        # The mask, the weight, the sum for the bias, A.b1; <x, W1'A>. One product for the frames and one for W1.
        elementwise = 5 * hidden + 2 * S * routed * T * D + (_WEIGHT + _SLOPES) * weight_flops
        written = frames + size * shape.E * H * (D + 1) + profile
        works.append(
            Work(f"expert_pool backward ({form})", dtype, 2 * product, elementwise, read + state + bits + written)
        )
    return works
