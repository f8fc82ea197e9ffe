"""Where the Gaussians stand: histograms of the centers, each counted as much as its gate."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from .record import BINS, MIXTURES, Record
from .style import GREY, expert_color, new_figure


def draw_centers(record: Record) -> Figure:
    """A panel for each mixture; thin lines bound the part of the clip that an expert's center can reach."""
    figure = new_figure(4.9)
    panels = figure.subplots(len(MIXTURES), 1, sharex=True)
    edges = np.linspace(0, 1, BINS + 1)
    for axes, name in zip(panels, MIXTURES, strict=True):
        spread = record.spreads[name]
        below = np.zeros(BINS)
        for expert, row in enumerate(spread.centers):
            # A bin on a bound holds two experts.
            axes.bar(
                edges[:-1], 100 * np.array(row), 1 / BINS, 100 * below, align="edge", color=expert_color(expert),
                linewidth=0,
            )  # fmt: skip
            below += row
            middle = (expert + 0.5) / record.experts
            axes.text(
                middle,
                1.0,
                f"{expert + 1}",
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="bottom",
                fontsize=11,
                color=expert_color(expert),
            )
        for bound in range(1, record.experts):
            axes.axvline(bound / record.experts, color=GREY, linewidth=0.5)
        axes.set(xlim=(0, 1), ylabel="% of gates")
        axes.set_title(f"{name}\n", loc="left", fontsize=12, weight="bold")
    panels[-1].set_xlabel("center, fraction of the clip")
    return figure
