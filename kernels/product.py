"""The matrix products of the CPU path, by whichever of PyTorch's libraries is fastest at them.

M rows, N output channels, P input channels.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

_ONEDNN = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]  # untyped in torch


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """`x [M, P] weight [N, P]^T + bias [N]`, then ReLU on request; either matrix may be a transposed view.

    In float32 this is oneDNN, which PyTorch asks only for narrower types: it runs at the processor's full vector
    width where MKL does not (on AMD it is about twice as fast), and takes bias and ReLU along.
    """
    if x.dtype == torch.float32 and x.numel() and weight.numel() and _ONEDNN:
        attribute = "relu" if relu else "none"
        return cast(Tensor, torch.ops.mkldnn._linear_pointwise(x, weight, bias, attribute, [], ""))
    result = x @ weight.t() if bias is None else torch.addmm(bias, x, weight.t())
    return result.relu_() if relu else result
