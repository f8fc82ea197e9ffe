"""Recorded accuracies of the concerts: questions about order first, then every type, mean and spread over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from examples.avqa.annotations import QUESTION_TYPES, read_json
from examples.avqa.readme import RECORDED
from examples.avqa.results import AccuracyTable, tables_from_json

from .style import COLORS, GREY, MARKERS, new_figure

PATH = RECORDED / "concerts.json"
ORDER = {"which instrument starts first or last": "who starts\nfirst or last", "AV-Temp": "AV-Temp"}
"""Rows about order: their words in the picture."""
ROWS = {**ORDER, **{name: name for name in QUESTION_TYPES.values() if name not in ORDER}, "All": "All"}
ORACLE = "oracle without order"


def load_tables() -> tuple[dict[str, AccuracyTable], Any]:
    """The recorded tables, and the whole record."""
    record = read_json(PATH, "recorded accuracies")
    return tables_from_json(record["tables"], PATH), record


def draw_accuracies(tables: Mapping[str, AccuracyTable]) -> Figure:
    """A line for each kind of question, a marker for each system."""
    figure = new_figure(7.2)
    axes = figure.add_subplot()
    runs = tables["QA-TIGER"]["All"].runs
    for row, name in enumerate(ROWS):
        if name in ORDER:
            oracle = tables[ORACLE][name].accuracy
            assert oracle is not None
            axes.plot([100 * oracle] * 2, [row - 0.42, row + 0.42], color=GREY, linestyle=":", linewidth=1.6)
        for place, system in enumerate(COLORS):
            cell = tables[system][name]
            assert cell.accuracy is not None
            axes.errorbar(
                100 * cell.accuracy,
                row + 0.15 * (place - (len(COLORS) - 1) / 2),
                xerr=100 * (cell.std or 0.0),
                fmt=MARKERS[system],
                color=COLORS[system],
                markersize=6.5 if system == "QA-TIGER" else 5,
                elinewidth=1.3,
                label=system if row == 0 else None,
            )
    axes.axhline(len(ORDER) - 0.5, color="#333333", linewidth=0.8)
    axes.axhline(len(ROWS) - 1.5, color="#333333", linewidth=0.8)
    axes.set_yticks(range(len(ROWS)), list(ROWS.values()))
    axes.set(ylim=(len(ROWS) - 0.45, -0.55), xlim=(0, 75), xlabel=f"accuracy, %: mean ± deviation of {runs} seeds")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.6)
    axes.plot([], [], color=GREY, linestyle=":", label="all but the order known")
    figure.legend(loc="outside upper center", ncols=2, fontsize=11)
    return figure
