"""The matrix products of the CPU path, by whichever of PyTorch's libraries is fastest at them.

M rows, N output channels, P input channels.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

ONEDNN = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]  # untyped in torch
ROWS = 1024
"""Of one part of a sum over rows: its transposed copy, which oneDNN makes, then stays in cache."""


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """`x [M, P] weight [N, P]^T + bias [N]`, then ReLU on request; either matrix may be a transposed view.

    In float32 this is oneDNN, which PyTorch asks only for narrower types: it runs at the processor's full vector
    width where MKL does not (on AMD it is about twice as fast), and takes bias and ReLU along.
    """
    if x.dtype == torch.float32 and x.numel() and weight.numel() and ONEDNN:
        attribute = "relu" if relu else "none"
        return cast(Tensor, torch.ops.mkldnn._linear_pointwise(x, weight, bias, attribute, [], ""))
    result = x @ weight.t() if bias is None else torch.addmm(bias, x, weight.t())
    return result.relu_() if relu else result


def product_over_rows(
    x: Tensor,  # [M, N]
    y: Tensor,  # [M, P]
) -> Tensor:  # [N, P]
    """`x^T y`, as the gradient of a linear map's weight."""
    if x.dtype != torch.float32 or len(x) <= ROWS or not x.numel() or not y.numel() or not ONEDNN:
        return product(x.t(), y.t())
    total = product(x[:ROWS].t(), y[:ROWS].t())
    for start in range(ROWS, len(x), ROWS):
        first, second = x[start : start + ROWS], y[start : start + ROWS]
        total = torch.ops.mkldnn._linear_pointwise.binary(first.t(), total, second.t(), None, "add")
    return total
