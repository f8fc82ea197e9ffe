"""A report's chart: bars by question type, grouped, with the spread over runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .files import written_whole
from .results import AccuracyRow, AccuracyTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours and Tol's wine, told apart by every kind of colour vision; published systems are greys.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#882255")
_PUBLISHED = (("#9e9e9e", ""), ("#c9c9c9", "///"), ("#e3e3e3", "..."), ("#f5f5f5", "xxx"))
MOST = len(_COLOURS)
"""Systems that a chart can hold."""
_PANELS = (
    ("A-Count", "A-Comp", "A-Avg", "V-Count", "V-Loc", "V-Avg"),
    ("AV-Exist", "AV-Count", "AV-Loc", "AV-Comp", "AV-Temp", "AV-Avg", "All"),
)
_GROUP = 0.84
"""Width of a group of bars, where groups stand 1 apart."""


def draw_report(path: Path, tables: Mapping[str, AccuracyTable], published: Sequence[str], title: str) -> None:
    """Saves the chart to `path`, whole or not at all.

    Args:
        path: the file; its suffix says the format.
        tables: column -> table, at most `MOST`.
        published: the columns that are published ones.
        title: of the chart.

    Raises:
        ValueError: no tables, or too many.
    """
    if not 1 <= len(tables) <= MOST:
        raise ValueError(f"tables holds {len(tables)} systems; a chart holds 1 to {MOST}")
    looks = _looks(tables, published)
    # Names inside an SVG are made from this instead of at random.
    with mpl.rc_context({"svg.hashsalt": "gaussian-moe", "font.size": 11, "hatch.linewidth": 0.6}):
        figure = Figure(figsize=(13, 8.4), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, names in zip(figure.subplots(len(_PANELS), 1, sharey=True), _PANELS, strict=True):
            _draw_panel(axes, names, tables, looks)
        figure.suptitle(title, fontsize=13, parse_math=False)
        legend = figure.legend(
            handles=[Patch(label=column, **look) for column, look in looks.items()],
            loc="outside lower center",
            # As many columns as fit the width in this size of letters.
            ncols=max(min(len(tables), 130 // (max(map(len, tables)) + 8)), 1),
            frameon=False,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
        with written_whole(path) as temporary:
            # Without a date an unchanged chart is an unchanged file.
            figure.savefig(temporary, dpi=130, metadata={"Date": None} if path.suffix == ".svg" else None)


def _looks(columns: Iterable[str], published: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Column -> how its bars look."""
    edge = {"edgecolor": "#333333", "linewidth": 0.6}
    ours, theirs = iter(_COLOURS), cycle(_PUBLISHED)
    looks: dict[str, dict[str, Any]] = {}
    for column in columns:
        colour, hatch = next(theirs) if column in published else (next(ours), "")
        looks[column] = {"facecolor": colour, "hatch": hatch, **edge}
    return looks


def _draw_panel(
    axes: Axes, names: Sequence[str], tables: Mapping[str, AccuracyTable], looks: Mapping[str, dict[str, Any]]
) -> None:
    width = _GROUP / len(tables)
    for place, name in enumerate(names):
        rows = {column: row for column, table in tables.items() if (row := _row(table, name))}
        drawn = {column: row for column, row in rows.items() if row.accuracy is not None}
        for number, (column, row) in enumerate(drawn.items()):
            # Systems without a figure leave no gap: the others stand in the middle.
            middle = place + (number - (len(drawn) - 1) / 2) * width
            assert row.accuracy is not None
            axes.bar(
                middle,
                100 * row.accuracy,
                0.94 * width,
                yerr=None if row.std is None else 100 * row.std,
                error_kw={"elinewidth": 1.1, "capsize": min(3.0, 14 * width), "ecolor": "#222222"},
                **looks[column],
            )
    axes.set(ylim=(0, 100), ylabel="accuracy, %", xlim=(-0.5, len(names) - 0.5))
    axes.set_xticks(range(len(names)), names)
    for label in axes.get_xticklabels():
        if label.get_text().endswith(("Avg", "All")):
            label.set_fontweight("bold")
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _row(table: AccuracyTable, name: str) -> AccuracyRow | None:
    return next((row for row in table.rows if row.name == name), None)
