"""How the layers' linear maps are initialised: Kaiming-normal weights, zero biases (as the published code)."""

from __future__ import annotations

from torch import Tensor, nn


def kaiming_(weight: Tensor, bias: Tensor) -> None:
    """Initialises one linear map [out, in], or a bank of them [E, out, in], each by its own fan-in.

    On the meta device there is nothing to initialise, and a bank may be of any size.
    """
    if weight.is_meta:
        return
    for matrix in weight.unbind() if weight.dim() == 3 else (weight,):
        nn.init.kaiming_normal_(matrix)
    nn.init.zeros_(bias)


def linear_(layer: nn.Module) -> None:
    """Initialises an `nn.Linear`; leaves every other module as it is."""
    if isinstance(layer, nn.Linear):
        kaiming_(layer.weight, layer.bias)
