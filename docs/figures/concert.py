"""One concert and several questions: who plays when, and each question's Gaussians beneath."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from .record import Asked, Example, Record
from .style import GREY, PLAYER, expert_color, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = "sound"
"""The mixture whose Gaussians are drawn."""


def draw_concert(record: Record) -> Figure:
    """The example concert."""
    example = record.example
    rows = len(example.players)
    figure = new_figure(0.7 + 0.34 * rows + 1.75 * len(example.asked))
    ratios = [0.34 * rows + 0.25] * bool(rows) + [1.6] * len(example.asked)
    panels = list(figure.subplots(len(ratios), 1, sharex=True, height_ratios=ratios, squeeze=False)[:, 0])
    if rows:
        _draw_players(panels.pop(0), example)
    top = 1.15 * max(gate for asked in example.asked for gate in asked.looks[SHOWN].gates)
    for axes, asked in zip(panels, example.asked, strict=True):
        _draw_asked(axes, asked, example.seconds, top)
    panels[-1].set_xlabel("seconds" if rows else "time, fraction of the clip")
    panels[-1].set_xlim(0, example.seconds)
    return figure


def _draw_players(axes: Axes, example: Example) -> None:
    for row, (_, segments) in enumerate(example.players):
        axes.broken_barh([(start, stop - start) for start, stop in segments], (row - 0.35, 0.7), color=PLAYER)
    axes.set_yticks(range(len(example.players)), [name.replace("_", " ") for name, _ in example.players])
    axes.set_ylim(len(example.players) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_title("who sounds when", loc="left", fontsize=12, color=GREY)


def _draw_asked(axes: Axes, asked: Asked, seconds: float, top: float) -> None:
    gaussians = asked.looks[SHOWN]
    parts = zip(gaussians.indices, gaussians.gates, gaussians.centers, gaussians.stds, strict=True)
    for expert, gate, center, std in sorted(parts):
        # Beyond four stds nothing is to be seen.
        place = np.linspace(max(center - 4 * std, 0.0), min(center + 4 * std, 1.0), 61)
        curve = gate * np.exp(-0.5 * ((place - center) / std) ** 2)
        axes.fill_between(seconds * place, curve, color=expert_color(expert), alpha=0.3, linewidth=0)
        axes.plot(seconds * place, curve, color=expert_color(expert), linewidth=1.5)
        if gate > 0.12 * top:
            axes.text(
                seconds * center,
                gate,
                f"{expert + 1}",
                ha="center",
                va="bottom",
                fontsize=11,
                color=expert_color(expert),
            )
    mark = "right" if asked.answer == asked.predicted else f"wrong, it is {asked.answer}"
    said = f"“{asked.predicted}” with {asked.probability:.2f}: {mark}"
    lines = [*textwrap.wrap(f"{asked.text}?", 52), said.replace("_", " ")]
    axes.set_title("\n".join(lines), loc="left", fontsize=12, parse_math=False)
    axes.set(ylim=(0, 1.15 * top), ylabel="gate × weight")
    axes.locator_params(axis="y", nbins=3)
