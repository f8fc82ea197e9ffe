"""A linear map by whichever of PyTorch's libraries is fastest at it.

M rows, N output channels, P input channels.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor
from torch.nn import functional as F

from ..backend import SMALL_LINEAR, VARIABLE, surely_below, transforming
from ..kernels.linear import op as linear_op
from ..kernels.product import ONEDNN


def linear(
    x: Tensor,  # [..., P]
    weight: Tensor,  # [N, P]
    bias: Tensor | None = None,  # [N]
    *,
    backend: str = "auto",
) -> Tensor:  # [..., N]
    """`x W^T + b`, as `F.linear`.

    Large products of float32 on a CPU go to oneDNN, whichever library PyTorch asks there; that is not so while
    exporting, under autocast, in forward mode and the transforms of torch.func, and where the environment's
    GAUSSIAN_MOE_BACKEND is "torch".

    Args:
        x: [..., P].
        weight: [N, P].
        bias: [N].
        backend: "auto", or "torch" for `F.linear` everywhere.

    Example:
        >>> import torch
        >>> from gaussian_moe.functional import linear
        >>> linear(torch.randn(2, 60, 768), torch.randn(512, 768)).shape
        torch.Size([2, 60, 512])
    """
    if backend == "torch" or not _by_operator(x, weight, bias):
        return F.linear(x, weight, bias)
    linear_op.count_flops()
    flat: Tensor = linear_op.linear(x.reshape(-1, x.shape[-1]), weight, bias)
    return flat.view(*x.shape[:-1], weight.shape[0])


def _by_operator(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    if x.device.type != "cpu" or not ONEDNN or os.environ.get(VARIABLE) == "torch":
        return False
    if any(tensor is not None and tensor.dtype != torch.float32 for tensor in (x, weight, bias)):
        return False
    if torch.is_autocast_enabled("cpu") or torch.compiler.is_exporting() or transforming():
        return False
    return not surely_below(x.numel() * weight.shape[0], SMALL_LINEAR)
