"""How the idea's pictures look: few panels, large type, white ground, colors that all color vision tells apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from examples.avqa.files import written_whole
from gaussian_moe._plot_style import STYLE, look

WIDTH = 5.6
"""Inches: at a phone's width letters of 12 points are still 8 points high."""
GREY = "#6b6b6b"
PLAYER = "#bdbdbd"
_SETTINGS: Any = STYLE | {"font.size": 12.0, "lines.linewidth": 1.8, "svg.hashsalt": "gaussian-moe"}

COLORS = {
    "QA-TIGER": "#d55e00",
    "uniform pooling": "#0072b2",
    "top-K frames": "#009e73",
    "TSPM": "#cc79a7",
    "question only": "#6b6b6b",
}
"""Systems that the accuracy chart shows, in its order."""
MARKERS = {"QA-TIGER": "o", "uniform pooling": "s", "top-K frames": "^", "TSPM": "D", "question only": "x"}

Draw = Callable[[Any], Figure]


def expert_color(expert: int) -> str:
    """An expert's color, the same in every picture."""
    return look(expert)[0]


def new_figure(height: float) -> Figure:
    """An empty figure of that height in inches."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def fingerprint(source: Any) -> str:
    """Stands in a picture for the record that it was drawn from."""
    return hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()[:16]


def save(path: Path, draw: Callable[[], Figure], source: Any) -> None:
    """Draws in this style and saves an SVG, whole or not at all, with the fingerprint of its source inside."""
    with mpl.rc_context(_SETTINGS):
        figure = draw()
        with written_whole(path) as temporary:
            # Without a date an unchanged picture is an unchanged file.
            figure.savefig(temporary, metadata={"Date": None, "Description": f"record {fingerprint(source)}"})
