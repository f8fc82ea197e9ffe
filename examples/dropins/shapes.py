"""Synthetic clips: coloured shapes that move across a noisy picture, one after the other.

Clips differ in length and in frames a second. P pixels of a side, L frames of a clip.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

COLORS = {
    "red": (0.9, 0.1, 0.1),
    "green": (0.1, 0.8, 0.1),
    "blue": (0.1, 0.2, 0.9),
    "yellow": (0.9, 0.8, 0.1),
    "pink": (0.9, 0.3, 0.8),
    "white": (0.95, 0.95, 0.95),
}
SIDE, SHAPE = 32, 9
"""Pixels of a picture and of a shape."""
FRAMES = (32, 64)
"""Least and greatest length of a clip in frames."""
RATES = (4.0, 8.0)
"""Frames a second."""
DATA_SEED = 713


class Clip(NamedTuple):
    """One clip and what is true of it."""

    frames: Tensor
    """[L, 3, P, P] float32 in [0, 1]."""
    rate: float
    """Frames a second."""
    colors: tuple[int, ...]
    """Which colours appear, in the order of time."""


def draw_clip(split: int, index: int) -> Clip:
    """Clip number `index` of a split; it depends on these two alone. Three colours, each seen for 6 to 9 frames."""
    rng = np.random.default_rng([DATA_SEED, split, index])
    length = int(rng.integers(FRAMES[0], FRAMES[1] + 1))
    colors = tuple(int(color) for color in rng.permutation(len(COLORS))[:3])
    spans = rng.integers(6, 10, 3)
    # The empty frames before, between and after the shapes.
    gaps = rng.multinomial(length - spans.sum(), rng.dirichlet(np.ones(4)))
    frames = torch.from_numpy(rng.normal(0.35, 0.08, (length, 3, SIDE, SIDE)).astype(np.float32))
    frame = 0
    for gap, span, color in zip(gaps, spans, colors, strict=False):
        frame += int(gap)
        _move(frames[frame : frame + int(span)], tuple(COLORS.values())[color], rng)
        frame += int(span)
    return Clip(frames.clamp(0, 1), float(rng.choice(RATES)), colors)


def _move(frames: Tensor, color: tuple[float, float, float], rng: np.random.Generator) -> None:
    """Draws a square or a disc that moves on a straight line."""
    grid = torch.arange(SHAPE) - (SHAPE - 1) / 2
    disc = grid[:, None].square() + grid.square() <= (SHAPE / 2) ** 2
    inside = disc if rng.random() < 0.5 else torch.ones_like(disc)
    (x0, x1), (y0, y1) = rng.integers(0, SIDE - SHAPE + 1, (2, 2)).tolist()
    for frame, part in zip(frames, torch.linspace(0, 1, len(frames)).tolist(), strict=True):
        x, y = round(x0 + part * (x1 - x0)), round(y0 + part * (y1 - y0))
        window = frame[:, y : y + SHAPE, x : x + SHAPE]
        window[:, inside] = torch.tensor(color)[:, None]
