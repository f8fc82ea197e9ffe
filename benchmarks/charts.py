"""Charts of recorded results, drawn with matplotlib (the extra `plot`): the same file gives the same picture.

B batch, T frames, D channels, E experts, K experts in use.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .cases import AXES, GRID, Case
from .chart_style import PASS_TITLES, STYLE, look, new_figure, source
from .errors import UserError
from .line_charts import axis, growth
from .results import NAMES, Results, sizes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(name: str, results: Results, folder: Path, ending: str = "svg") -> list[Path]:
    """Draws every chart that there are results for into `folder`, named `<name>-<chart>.<ending>`.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise UserError(
            "charts need matplotlib: pip install 'gaussian-moe[plot]' or, in the clone, '.[plot]'"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with matplotlib.rc_context(STYLE):
        for chart, make in CHARTS.items():
            figure = make(results)
            if figure is not None:
                path = folder / f"{name}-{chart}.{ending}"
                # What would differ from day to day or from version to version stays out.
                metadata = {"Date": None, "Creator": None} if ending == "svg" else {"Software": None}
                figure.savefig(path, dpi=160, metadata=metadata)
                written.append(path)
    return written


def _published(results: Results) -> Figure | None:
    cases = results.cases("published")
    if not cases:
        return None
    names = results.implementations("published")
    figure = new_figure(11.4, 0.9 + 0.34 * len(names))
    for place, case in enumerate(cases, 1):
        axes = figure.add_subplot(1, len(cases), place)
        for height, name in enumerate(reversed(names)):
            color = look(name)["color"]
            for which, shade in (("both", 0.45), ("forward", 1.0)):
                time = results.time("published", case, name, which)
                if time is not None:
                    ends = [[1e3 * (time.median - time.low)], [1e3 * (time.high - time.median)]]
                    axes.barh(height, 1e3 * time.median, color=color, alpha=shade, xerr=ends, ecolor="#222222")
        axes.set_yticks(range(len(names)), [NAMES[name] for name in reversed(names)] if place == 1 else [])
        axes.set_title(sizes(case))
        axes.set_xlabel("ms")
        axes.grid(visible=False, axis="y")
    figure.suptitle(
        "Forward (full) and forward and backward (pale) at B, T, D, E, K; whiskers: 20th to 80th percentile"
    )
    source(figure, "published", results)
    return figure


def _grid(results: Results) -> Figure | None:
    recorded = set(results.cases("grid"))
    if not recorded:
        return None
    from matplotlib.colors import Normalize

    rows = list(dict.fromkeys((case.D, case.K, case.E) for case in GRID))
    columns = list(dict.fromkeys((case.T, case.B) for case in GRID))
    figure = new_figure(11.4, 7.2)
    panels = [(name, which) for which in PASS_TITLES for name in ("layer", "layer_compiled")]
    for place, (name, which) in enumerate(panels, 1):
        axes = figure.add_subplot(2, 2, place)
        values = [[_times_as_fast(results, Case(B, T, D, E, K), name, which) for T, B in columns] for D, K, E in rows]
        # Halving and doubling are equally far from white; beyond fourfold the number alone tells.
        norm = Normalize(-2.0, 2.0)
        axes.pcolormesh(values, cmap="PuOr", norm=norm, edgecolors="white", linewidth=0.8)
        for y, line in enumerate(values):
            for x, value in enumerate(line):
                text = "–" if math.isnan(value) else f"{2**value:.2f}" if value < 3 else f"{2**value:.0f}"
                color = "white" if abs(value) > 1.4 else "black"
                axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=6.5, color=color)
        axes.set_xticks([x + 0.5 for x in range(len(columns))], [f"{T}\n{B}" for T, B in columns], fontsize=7)
        axes.set_yticks([y + 0.5 for y in range(len(rows))], [f"{D}, {K}/{E}" for D, K, E in rows], fontsize=7)
        axes.set_xlabel("T over B")
        axes.set_ylabel("D, K/E")
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.set_title(f"{NAMES[name]}: {PASS_TITLES[which]}")
    figure.suptitle("Times as fast as the factored computation under torch.compile (below 1: slower)")
    source(figure, "grid", results)
    return figure


def _times_as_fast(results: Results, case: Case, name: str, which: str) -> float:
    """As a power of two; NaN where there is no number."""
    time, base = (results.time("grid", case, each, which) for each in (name, "factored_compiled"))
    return math.nan if time is None or base is None else math.log2(base.median / time.median)


CHARTS: dict[str, Callable[[Results], Figure | None]] = {
    "published": _published,
    "growth": growth,
    **{f"time-{letter}": partial(axis, letter) for letter in (*AXES, "dtype")},
    "grid": _grid,
}
"""What can be drawn."""
