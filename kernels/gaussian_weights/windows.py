"""The shapes that a window over time can have, as the logarithm of its height.

z is a frame's offset from the center, in standard deviations of the window.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

SOFTNESS = 0.1
"""How fast a box's edges fall, in stds: with hard edges centers and stds would have no gradient."""


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
