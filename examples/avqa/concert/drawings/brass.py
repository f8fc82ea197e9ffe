"""Trumpet and tuba."""

from __future__ import annotations

import numpy as np

from .palette import BLACKS, BRASSES, IVORY, SILVERS
from .pen import Colour, Look, Pen, Points, shade


def _valve(pen: Pen, x: float, top: float, bottom: float, width: float, metal: Colour) -> None:
    pen.line([(x, top - 0.08), (x, top)], width * 0.25, shade(metal, 0.7))
    pen.oval(x, top - 0.085, width * 0.42, 0.018, IVORY)
    pen.box(x - width / 2, top, width, bottom - top, shade(metal, 0.95))
    pen.line([(x - width * 0.2, top + 0.015), (x - width * 0.2, bottom - 0.015)], width * 0.16, shade(metal, 1.5))
    for y in (top, bottom - 0.03):
        pen.box(x - width * 0.58, y, width * 1.16, 0.03, shade(metal, 0.8))


def _bell(pen: Pen, path: Points, narrow: float, wide: float, metal: Colour, power: float = 5.0) -> None:
    pen.tube(path, lambda along: narrow + (wide - narrow) * along**power, metal)


def trumpet(pen: Pen, look: Look) -> None:
    """A long loop of tubing, three valves and a flared bell; to the right, to the left, short, or silver."""
    silver = look.rng.random() < (0.2, 0.3, 0.2, 0.6)[look.variant]
    metal = look.tint(SILVERS if silver else BRASSES)
    tube, flare = look.vary(0.042, 0.054), look.vary(0.36, 0.44)
    short = look.variant == 2
    left, right = (-0.5, 0.34) if short else (-0.46, 0.42)
    turn = (-14.0, 18.0, -30.0, -38.0)[look.variant] + look.vary(-5, 5)
    with pen.turned(turn, flip=look.variant in (1, 3)):
        low = 0.15 if short else 0.12
        pen.tube([(-0.8, -0.1), (-0.3, -0.1), (right - 0.04, -0.1)], tube, metal)
        pen.tube(
            [
                (right - 0.05, -0.1),
                (right + 0.05, -0.06),
                (right + 0.07, 0.02),
                (right + 0.05, low - 0.03),
                (right - 0.05, low),
            ],
            tube,
            metal,
        )
        pen.tube([(right - 0.04, low), (0.0, low), (left + 0.06, low)], tube, metal)
        pen.tube(
            [(left + 0.07, low), (left - 0.03, low - 0.04), (left - 0.06, 0.0), (left, -0.03), (left + 0.1, -0.035)],
            tube,
            metal,
        )
        if short:
            pen.tube([(-0.3, 0.2), (-0.1, 0.24), (0.1, 0.24), (0.2, 0.19)], tube, shade(metal, 0.9))
        _bell(pen, [(left + 0.08, -0.035), (0.0, -0.035), (0.4, -0.035), (0.78, -0.035)], tube, flare, metal)
        pen.oval(0.78, -0.035, 0.035, flare / 2, shade(metal, 0.7))
        pen.oval(0.79, -0.035, 0.016, flare / 2 * 0.8, shade(metal, 0.4), outlined=False)
        for x in (-0.12, 0.0, 0.12):
            _valve(pen, x, -0.2, 0.22, 0.085, metal)
        pen.fill([(-0.8, -0.13), (-0.87, -0.15), (-0.87, -0.05), (-0.8, -0.07)], shade(metal, 1.2))


def tuba(pen: Pen, look: Look) -> None:
    """A huge upright bell over oval loops of wide tubing with valves in the middle; both hands, four models."""
    silver = look.rng.random() < (0.15, 0.2, 0.2, 0.4)[look.variant]
    metal = look.tint(SILVERS if silver else BRASSES)
    fat = look.vary(0.13, 0.155)
    flare = (0.72, 0.62, 0.8, 0.68)[look.variant] * look.vary(0.94, 1.06)
    lean = (0.1, 0.16, 0.06, 0.2)[look.variant]
    with pen.turned(look.vary(-5, 5), flip=look.variant in (1, 3)):
        dark = shade(metal, 0.85)
        pen.tube([(0.22, -0.3), (0.28, 0.1), (0.26, 0.5), (0.06, 0.72), (-0.16, 0.62), (-0.24, 0.3)], fat, dark)
        pen.tube([(-0.24, 0.32), (-0.26, 0.0), (-0.16, -0.22), (0.04, -0.22), (0.1, 0.0)], fat * 0.75, metal)
        if look.variant in (2, 3):
            pen.tube([(0.1, 0.0), (0.12, 0.3), (0.04, 0.48), (-0.1, 0.4), (-0.1, 0.15)], fat * 0.5, metal)
        mouth = (0.22 + lean, -0.72)
        _bell(pen, [(0.27, 0.35), (0.25, 0.0), (0.22, -0.3), (0.22 + lean * 0.4, -0.52), mouth], fat, flare, metal, 3.2)
        tilt = float(np.degrees(np.arctan2(lean, 0.5)))
        with pen.turned(tilt, *mouth):
            pen.oval(0, 0, flare / 2, 0.085, shade(metal, 0.8))
            pen.oval(0, 0.01, flare / 2 * 0.82, 0.055, shade(metal, 0.4), outlined=False)
        for index in range(3 if look.variant < 2 else 4):
            _valve(pen, -0.16 + index * 0.085, 0.08, 0.36, 0.07, shade(metal, 1.1))
        pen.tube([(-0.1, 0.3), (0.02, 0.42), (0.14, 0.34)], fat * 0.3, shade(metal, 1.1))
        pen.tube([(-0.18, -0.1), (-0.3, -0.22), (-0.44, -0.26)], fat * 0.3, metal)
        cup = look.tint(SILVERS if silver else BRASSES + BLACKS[:1])
        pen.fill([(-0.43, -0.29), (-0.5, -0.33), (-0.52, -0.22), (-0.44, -0.24)], cup)
