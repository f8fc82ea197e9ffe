"""Which pictures there are, and what each is drawn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from examples.avqa.errors import UserError
from examples.avqa.readme import ROOT

from .accuracies import draw_accuracies, load_tables
from .centers import draw_centers
from .concert import draw_concert
from .gates import draw_gates
from .layer import draw_layer
from .record import Record
from .style import save
from .timelines import draw_timelines

OUT = ROOT / "docs" / "pictures"
_OF_ROUTING = {
    "concert": draw_concert,
    "timelines": draw_timelines,
    "gates": draw_gates,
    "centers": draw_centers,
}
NAMES = ("layer", "accuracies", *_OF_ROUTING)
"""Of the files, as idea-NAME.svg."""


def sources(record: Record) -> dict[str, Any]:
    """What each picture is drawn from, as plain values."""
    _, accuracies = load_tables()
    routing = record.to_json()
    return {"layer": None, "accuracies": accuracies["tables"], **dict.fromkeys(_OF_ROUTING, routing)}


def path_of(name: str, out: Path = OUT) -> Path:
    """The file of a picture."""
    if name not in NAMES:
        raise UserError(f"no picture is called {name!r}; known are {', '.join(NAMES)}")
    return out / f"idea-{name}.svg"


def draw_all(record: Record, out: Path = OUT) -> list[Path]:
    """Draws every picture anew; returns their files."""
    drawn_from = sources(record)
    tables, _ = load_tables()
    save(path_of("layer", out), draw_layer, drawn_from["layer"])
    save(path_of("accuracies", out), lambda: draw_accuracies(tables), drawn_from["accuracies"])
    for name, draw in _OF_ROUTING.items():
        save(path_of(name, out), lambda draw=draw: draw(record), drawn_from[name])  # type: ignore[misc]  # bound at once
    return [path_of(name, out) for name in NAMES]
