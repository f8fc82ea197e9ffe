"""The layers' linear maps: PyTorch's, by whichever of its libraries is fastest at them."""

from __future__ import annotations

from torch import Tensor, nn

from .functional import linear


class Linear(nn.Linear):
    """`nn.Linear`, computed by `linear`.

    Example:
        >>> import torch
        >>> from gaussian_moe.linear import Linear
        >>> Linear(768, 512)(torch.randn(2, 60, 768)).shape
        torch.Size([2, 60, 512])
    """

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)
