"""When the model looks, by kind of question: the mean timeline over a clip's own time."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from .record import MIXTURES, POINTS, Kind, Record
from .style import new_figure

LINES = {
    "first instrument": ("who is first?", "#d55e00", "-"),
    "second instrument": ("who is second?", "#e69f00", "--"),
    "last instrument": ("who is last?", "#0072b2", "-"),
    "A-Count": ("A-Count, by ear", "#009e73", ":"),
    "V-Loc": ("V-Loc, by eye", "#6b6b6b", "-."),
}
"""Kinds that are drawn: their words, color and line. Whatever they show, they are these."""


def drawn_kinds(record: Record) -> list[Kind]:
    """The kinds of LINES that the record has; of other data the types."""
    kinds = [kind for name in LINES if (kind := record.kind(name)) is not None]
    return kinds if any(kind.is_topic for kind in kinds) else [kind for kind in record.kinds if not kind.is_topic][:5]


def draw_timelines(record: Record) -> Figure:
    """A panel for each mixture."""
    figure = new_figure(5.9)
    place = np.linspace(0, 1, POINTS)
    panels = figure.subplots(len(MIXTURES), 1, sharex=True)
    for axes, mixture in zip(panels, MIXTURES, strict=True):
        for kind in drawn_kinds(record):
            words, color, line = LINES.get(kind.name, (kind.name, None, "-"))
            axes.plot(place, kind.looks[mixture].timeline, color=color, linestyle=line, label=words)
        axes.set(ylabel="mean weight", xlim=(0, 1))
        axes.set_ylim(bottom=0)
        axes.set_title(mixture, loc="left", fontsize=12, weight="bold")
    panels[-1].set_xlabel("the clip's own time, 0 first to 1 last frame")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=11)
    return figure
