"""The shapes that a window over time can have, as the logarithm of its height.

z is a frame's offset from the center, in standard deviations of the window.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

SOFTNESS = 0.1
"""How fast a box's edges fall, in stds: with hard edges centers and stds would have no gradient."""
FAR = 600.0
"""Stds from the center, or from the peak's height, beyond which every window is 0 in float64 too."""


def _gaussian(z: Tensor) -> Tensor:
    return -0.5 * z.square()


def _laplace(z: Tensor) -> Tensor:
    # A Laplace density of scale s has the standard deviation sqrt(2) s.
    return -math.sqrt(2) * z.abs()


def _box(z: Tensor) -> Tensor:
    # A box of half-width w has the standard deviation w/sqrt(3).
    return F.logsigmoid((math.sqrt(3) - z.abs()) / SOFTNESS)


WINDOWS: dict[str, Callable[[Tensor], Tensor]] = {"gaussian": _gaussian, "laplace": _laplace, "box": _box}
NORMALIZATIONS = ("peak", "sum", "none")


def narrowest(stds: Tensor) -> Tensor:
    """The stds, those so small that z overflows made a little larger: either way only the nearest frame is seen."""
    floor = 4 * torch.finfo(stds.dtype).tiny
    return torch.where(stds.abs() < floor, floor, stds)


def height(
    window: str,
    places: Tensor,  # when the frames are
    centers: Tensor,
    stds: Tensor,  # above 0
) -> Tensor:
    """Its logarithm; arguments broadcast. Where the height is 0 nothing is divided: 0 times an overflow is NaN."""
    offset = places - centers
    far = offset.abs() > FAR * stds
    return WINDOWS[window](offset.masked_fill(far, 0.0) / stds).masked_fill(far, -torch.inf)


def fall(
    window: str,
    places: Tensor,  # when the frames are
    nearest: Tensor,  # when the one nearest to the center is
    centers: Tensor,
    stds: Tensor,  # above 0
) -> Tensor:
    """How far the logarithm of the height lies below that at the nearest frame, at most 0; arguments broadcast.

    Not the difference of two heights: those of a narrow window overflow, and before that have no digits left to tell
    them apart.
    """
    offset, least = places - centers, nearest - centers
    if window == "gaussian":
        drop = (places - nearest) * (offset + least)
        far = drop > (4 * FAR * stds) * stds
    else:
        drop = offset.abs() - least.abs()
        far = drop > FAR * stds
    # Distances that round to the same number may make a frame nearer than the nearest.
    drop = drop.masked_fill(far | (drop < 0) | (places == nearest), 0.0)
    if window == "gaussian":
        fallen = -0.5 * ((drop / stds) / stds)
    elif window == "laplace":
        fallen = -math.sqrt(2) * (drop / stds)
    else:
        # Far outside the box the logarithm is a straight line, on which it does not matter how far.
        edge = torch.minimum(least.abs(), (6.0 * stds).detach()) / stds
        fallen = _box(edge + drop / stds) - _box(edge)
    return fallen.masked_fill(far, -torch.inf)
