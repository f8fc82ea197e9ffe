"""The layers' linear maps: PyTorch's, by whichever of its libraries is fastest at them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .backend import check_backend_without_triton
from .functional import linear


class Linear(nn.Linear):
    """`nn.Linear`, computed by `linear`.

    Args:
        in_features: P.
        out_features: N.
        bias: whether a bias is added.
        backend: "auto" or "torch".

    Raises:
        ValueError: another backend.

    Examples:
        >>> import torch
        >>> from gaussian_moe.linear import Linear
        >>> Linear(768, 512)(torch.randn(2, 60, 768)).shape
        torch.Size([2, 60, 512])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        backend: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_backend_without_triton(backend)
        super().__init__(in_features, out_features, bias, device=device, dtype=dtype)
        self.backend = backend

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias, backend=self.backend)
