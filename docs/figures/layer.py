"""The layer as a diagram: question and frames, router, Gaussians over frames, experts, sum, LayerNorm.

The two Gaussians in it are an illustration, not taken from a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from .style import GREY, expert_color, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FRAMES = 12
_EXPERTS = ((1, 0.24, 0.085, 0.7), (5, 0.78, 0.06, 0.3))
"""Number, center, std and gate of the experts that are drawn."""
_LEFT, _WIDTH = 3.0, 6.9
"""Of the frames beneath the Gaussians."""
_LINE = "#333333"


def draw_layer() -> Figure:
    """The diagram."""
    figure = new_figure(7.4)
    axes = figure.add_subplot()
    axes.set(xlim=(0, 10), ylim=(-0.3, 13.6), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    _box(axes, 0.1, 12.2, 2.5, "question", "white")
    axes.text(_LEFT + _WIDTH / 2, 13.05, "the clip's frames", ha="center", va="center")
    _frames(axes, 12.3, [1.0] * _FRAMES, "#8c8c8c")
    _box(axes, 0.1, 10.1, 2.5, "router:\nattention", "#eeeeee", height=1.3)
    _arrow(axes, (1.35, 12.2), (1.35, 11.4))
    _arrow(axes, (3.4, 12.3), (2.6, 11.2))
    axes.text(_LEFT, 10.7, "says which experts (gates),\nwhen (centers), how long (stds)", va="center", color=GREY)
    bottoms = [8.0 - 3.1 * row for row in range(len(_EXPERTS))]
    for bottom, expert in zip(bottoms, _EXPERTS, strict=True):
        _expert(axes, bottom, *expert)
        _arrow(axes, (2.2, bottom + 0.05), (2.95, bottom + 0.05))
    axes.plot([2.2, 2.2], [10.1, bottoms[-1] + 0.05], color=_LINE, linewidth=1.2)
    _box(axes, _LEFT, 1.95, _WIDTH, "sum over frames and experts", "#eeeeee")
    _box(axes, 4.9, 0.6, 3.1, "LayerNorm", "#eeeeee")
    for top, end in ((3.35, 2.8), (1.95, 1.45), (0.6, -0.1)):
        _arrow(axes, (6.45, top), (6.45, end))
    axes.text(6.65, 0.15, "one vector", va="center")
    return figure


def _expert(axes: Axes, bottom: float, number: int, center: float, std: float, gate: float) -> None:
    color = expert_color(number)
    axes.text(0.1, bottom + 0.75, f"expert {number + 1}", color=color, weight="bold", va="center")
    axes.text(0.1, bottom + 0.15, f"gate {gate:.1f}", color=color, va="center")
    place = np.linspace(0, 1, 121)
    curve = bottom + 1.2 * np.exp(-0.5 * ((place - center) / std) ** 2)
    axes.fill_between(_LEFT + _WIDTH * place, bottom, curve, color=color, alpha=0.3, linewidth=0)
    axes.plot(_LEFT + _WIDTH * place, curve, color=color)
    times = np.arange(_FRAMES) / (_FRAMES - 1)
    weights = np.exp(-0.5 * ((times - center) / std) ** 2)
    _frames(axes, bottom - 0.62, list(weights / weights.max()), color)
    axes.text(
        _LEFT + _WIDTH / 2, bottom - 0.9, f"frame → network {number + 1} → × weight × gate", ha="center", va="center",
        fontsize=11, color=GREY,
    )  # fmt: skip
    axes.text(_LEFT + _WIDTH * center, bottom + 1.42, "center", ha="center", va="center", fontsize=11, color=color)
    ends = [_LEFT + _WIDTH * (center + side * std) for side in (-1, 1)]
    axes.plot(ends, [bottom + 0.73] * 2, color=color, linewidth=1)
    axes.text(ends[1] + 0.15, bottom + 0.75, "std", va="center", fontsize=11, color=color)


def _frames(axes: Axes, bottom: float, weights: list[float], color: str) -> None:
    """A row of frames, each as opaque as its weight."""
    width = _WIDTH / len(weights)
    for place, weight in enumerate(weights):
        corner = (_LEFT + place * width, bottom)
        axes.add_patch(Rectangle(corner, width - 0.08, 0.5, facecolor=color, alpha=0.08 + 0.92 * weight, linewidth=0))


def _box(axes: Axes, x: float, y: float, width: float, text: str, color: str, height: float = 0.85) -> None:
    style = "round,pad=0,rounding_size=0.15"
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=color, edgecolor=_LINE, lw=1))
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center")


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    look = {"arrowstyle": "-|>", "color": _LINE, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=look)
