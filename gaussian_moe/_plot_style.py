"""How figures look: settings, and the experts' colors and lines."""

from __future__ import annotations

from typing import Any

# Any: matplotlib's stubs want each key spelt as a literal type.
STYLE: Any = {
    "font.size": 9.0,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
"""Settings under which figures are drawn."""

# Okabe and Ito's colors and Tol's wine, told apart by every kind of color vision.
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#882255", "#f0e442")
_LINES = ("-", "--", ":", "-.")
TRUTH = "#bdbdbd"


def look(expert: int) -> tuple[str, str]:
    """Color and line of an expert."""
    return COLORS[expert % len(COLORS)], _LINES[expert // len(COLORS) % len(_LINES)]
