"""Which implementation computes the operations: the argument, the environment variable, and what is there."""

from __future__ import annotations

import os
from typing import Literal

import torch

from .kernels import runtime

Backend = Literal["auto", "triton", "torch"]
BACKENDS = ("auto", "triton", "torch")
VARIABLE = "GAUSSIAN_MOE_BACKEND"
SMALL = 2**25
"""Multiplications below which an operator's own steps cost a CPU more than it saves."""
SMALL_COMPILED = 70_000_000
"""The same within a compiled graph, where plain operations cost less."""
SMALL_SHORT = 190_000_000
"""The same within a compiled graph without gradients, of clips shorter than SHORT: of those little can be skipped."""
SMALL_LINEAR = 2**22
"""Multiplications of a linear map below which the same holds."""
SHORT = 256
_COMPILES_SYMBOLS = torch.__version__ >= "2.8"
"""The compiler knows `statically_known_true`."""


def check_backend(backend: str) -> None:
    """Raises ValueError for a name that is no backend."""
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")


def check_backend_without_triton(backend: str) -> None:
    """Raises ValueError for a name that is no backend, and for "triton": this layer has no Triton kernel."""
    check_backend(backend)
    if backend == "triton":
        raise ValueError("backend='triton': this layer has no Triton kernel; use 'auto' or 'torch'")


def fused(
    backend: str,
    device: torch.device,
    dtype: torch.dtype,
    unfused: str | None = None,
    *,
    prefer_torch_on_cpu: bool = False,
) -> bool:
    """Whether this call goes to the fused operators: `backend`, or where that is "auto", the environment's word.

    Args:
        backend: "auto", "triton" or "torch"; "auto" follows GAUSSIAN_MOE_BACKEND where that is set.
        device: where the frames are.
        dtype: what the experts compute in.
        unfused: why this request has no fused path, if it has none.
        prefer_torch_on_cpu: "auto" takes the plain path on a CPU.

    Raises:
        ValueError: an unknown name, or "triton" where its kernels cannot run; the message says why.
    """
    check_backend(backend)
    source = "backend"
    if backend == "auto" and VARIABLE in os.environ:
        source, backend = VARIABLE, os.environ[VARIABLE]
        if backend not in BACKENDS:
            raise ValueError(f"{VARIABLE} must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "torch":
        return False
    obstacle = unfused or _exporting() or transforming()
    if backend == "triton":
        if obstacle := obstacle or _no_triton(device, dtype):
            raise ValueError(f"{source}='triton': {obstacle}; use 'auto' or 'torch'")
        return True
    if obstacle:
        return False
    if device.type == "cpu" and not runtime.INTERPRETED:
        # There the operators have an implementation in torch of their own.
        return not prefer_torch_on_cpu
    return _no_triton(device, dtype) is None


def is_small(multiplications: int, num_frames: int, needs_grad: bool) -> bool:
    """Whether a CPU computes this sooner in plain operations; sizes that are symbols count as large.

    Args:
        multiplications: of the experts' first layer over every frame.
        num_frames: of one clip.
        needs_grad: whether a backward pass may follow.
    """
    if not torch.compiler.is_compiling():
        return multiplications < SMALL
    if not needs_grad and surely_below(num_frames, SHORT):
        return surely_below(multiplications, SMALL_SHORT)
    return surely_below(multiplications, SMALL_COMPILED)


def surely_below(size: int, limit: int) -> bool:
    """Whether a size is below a limit; one that is a symbol of a compiled graph counts as large."""
    if not torch.compiler.is_compiling():
        return size < limit
    if not _COMPILES_SYMBOLS:
        return False
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    # An ordinary comparison of symbols would be a guard, and the graph would be compiled once more on its other side.
    return statically_known_true(size < limit)


def _exporting() -> str | None:
    if torch.compiler.is_exporting():
        return "an exported program holds plain aten operations"
    return None


def transforming() -> str | None:
    """Why operators do not go with the derivative or the transform of torch.func that is at work, if there is one.

    They have no rules for vmap and forward mode; `torch.func.jvp` would take their derivative for 0 in silence.
    """
    if torch.autograd.forward_ad._current_level >= 0:
        return "the operators have no forward-mode derivative"
    # The compiler cannot ask for more, and knows what to do with vmap and grad.
    if not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is not None:
        return "the operators have no rules for the transforms of torch.func"
    return None


def _no_triton(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why the Triton kernels cannot run there, or None where they can."""
    if not runtime.triton_there():
        return "the package triton is not installed (it comes with PyTorch for CUDA on Linux)"
    if not runtime.runs_triton(device):
        if device.type == "cpu":
            return "on a CPU the kernels run under Triton's interpreter only (TRITON_INTERPRET=1, set before import)"
        return f"the kernels run on CUDA devices, not on {device.type!r}"
    if dtype == torch.float64 and not runtime.INTERPRETED:
        return "the kernels have no float64"
    return None
