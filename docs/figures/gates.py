"""Which experts are used: mean gates by question type, as a heat map, and by the topics about order beneath."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from .record import MIXTURES, Kind, Record
from .style import new_figure
from .timelines import LINES


def shown_kinds(record: Record) -> list[Kind]:
    """The types, then the topics whose timelines are drawn too."""
    return [kind for kind in record.kinds if not kind.is_topic or kind.name in LINES]


def draw_gates(record: Record) -> Figure:
    """A panel for each mixture, its numbers in per cent."""
    kinds = shown_kinds(record)
    figure = new_figure(1.1 + 0.62 * len(kinds))
    values = {name: 100 * np.array([kind.looks[name].gates for kind in kinds]) for name in MIXTURES}
    top = max(float(each.max()) for each in values.values())
    panels = figure.subplots(len(MIXTURES), 1, sharex=True)
    for axes, name in zip(panels, MIXTURES, strict=True):
        image = axes.imshow(values[name], cmap="Blues", vmin=0, vmax=top, aspect="auto")
        for row, line in enumerate(values[name]):
            for column, value in enumerate(line):
                color = "white" if value > 0.6 * top else "#222222"
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=11, color=color)
        axes.set_yticks(range(len(kinds)), [_label(kind) for kind in kinds], fontsize=11)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(f"{name}: mean gate, %", loc="left", fontsize=12, weight="bold")
    panels[-1].set_xticks(range(record.experts), [str(number + 1) for number in range(record.experts)])
    panels[-1].set_xlabel("expert: whose seventh of the clip" if record.experts == 7 else "expert")
    del image
    return figure


def _label(kind: Kind) -> str:
    return kind.name.replace(" instrument", "?") if kind.is_topic else kind.name
