"""How charts look: colors, markers and lines by implementation, and matplotlib's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .results import NAMES, Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Any: matplotlib's stubs want each key spelt as a literal type.
STYLE: Any = {
    "font.size": 9.0,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # Names inside an SVG are made from this instead of at random.
    "svg.hashsalt": "gaussian-moe",
}
"""Settings under which charts are drawn."""

PASS_TITLES = {"forward": "forward", "both": "forward and backward"}

# Okabe and Ito's colors, told apart by every kind of color vision; markers tell the same for print.
_COLORS = {"layer": "#d55e00", "factored": "#0072b2", "published": "#4d4d4d"}
_MARKERS = {"layer": "o", "factored": "s", "published": "^"}


def look(name: str) -> dict[str, Any]:
    """Color, marker and line of an implementation: what it computes, and how it is run."""
    base, *ways = name.split("_")
    line = {"compiled": "--", "graph": ":", "compiled_graph": "-."}.get("_".join(ways), "-")
    filled = _COLORS[base] if not ways else "white"
    marker = {"marker": _MARKERS[base], "markerfacecolor": filled}
    return {"color": _COLORS[base], "linestyle": line, "label": NAMES[name], **marker}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, without matplotlib's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def source(figure: Figure, suite: str, results: Results) -> None:
    """Writes under a figure where its numbers come from."""
    figure.supxlabel(results.caption([suite]), fontsize=7, color="#555555")
