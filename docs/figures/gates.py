"""Which experts are used: mean gates by question type, as a heat map, and by some topics beneath."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from .record import MIXTURES, Kind, Record
from .style import new_figure
from .timelines import LINES

_ALIKE = ("count heard", "count seen", "heard", "seen")
"""Topics that ask the same by ear and by eye."""


def shown_kinds(record: Record) -> list[Kind]:
    """The types, then topics: those about order whose timelines are drawn too, and pairs by ear and by eye."""
    topics = [kind for name in (*LINES, *_ALIKE) if (kind := record.kind(name)) is not None and kind.is_topic]
    return [*(kind for kind in record.kinds if not kind.is_topic), *topics]


def draw_gates(record: Record) -> Figure:
    """A panel for each mixture, its numbers in per cent."""
    kinds = shown_kinds(record)
    figure = new_figure(1.2 + 0.5 * len(kinds))
    values = {name: 100 * np.array([kind.looks[name].gates for kind in kinds]) for name in MIXTURES}
    top = max(float(each.max()) for each in values.values())
    panels = figure.subplots(len(MIXTURES), 1, sharex=True)
    for axes, name in zip(panels, MIXTURES, strict=True):
        axes.imshow(values[name], cmap="Blues", vmin=0, vmax=top, aspect="auto")
        for row, line in enumerate(values[name]):
            for column, value in enumerate(line):
                color = "white" if value > 0.6 * top else "#222222"
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=11, color=color)
        axes.set_yticks(range(len(kinds)), [_label(kind) for kind in kinds], fontsize=11)
        axes.tick_params(length=0)
        types = sum(not kind.is_topic for kind in kinds)
        axes.axhline(types - 0.5, color="#333333", linewidth=0.8)
        axes.spines[:].set_visible(False)
        axes.set_title(f"{name}: mean gate, %", loc="left", fontsize=12, weight="bold")
    panels[-1].set_xticks(range(record.experts), [str(number + 1) for number in range(record.experts)])
    panels[-1].set_xlabel(f"expert: 1 has the clip's first part, {record.experts} its last")
    return figure


def _label(kind: Kind) -> str:
    return kind.name.replace(" instrument", "?") if kind.is_topic else kind.name
