"""Violin, acoustic guitar and banjo."""

from __future__ import annotations

import numpy as np

from .palette import BLACKS, BRIGHTS, DARK_WOODS, EBONY, IVORY, PALE_WOODS, RED_WOODS, SILVERS, STRING, WHITES
from .pen import Colour, Look, Pen, mirrored, shade


def _strings(pen: Pen, count: int, top: float, bottom: float, spread_top: float, spread_bottom: float) -> None:
    for share in np.linspace(-1, 1, count):
        pen.line([(share * spread_top, top), (share * spread_bottom, bottom)], 0.007, STRING)


def _bow(pen: Pen, wood: Colour) -> None:
    pen.line([(0.045, -0.62), (0.045, 0.56)], 0.016, (238, 232, 214))
    pen.tube([(0.03, -0.66), (0.012, -0.3), (0.012, 0.2), (0.03, 0.66)], 0.024, wood)
    pen.fill([(0.02, -0.68), (0.06, -0.62), (0.03, -0.58)], wood)
    pen.box(0.015, 0.5, 0.05, 0.09, EBONY)


def _fiddle(pen: Pen, look: Look, wood: Colour) -> None:
    wide, waist = look.vary(0.92, 1.08), look.vary(0.9, 1.1)
    half = [(0, -0.16), (0.13, -0.14), (0.19, -0.04), (0.17, 0.06), (0.115 * waist, 0.13), (0.115 * waist, 0.22)]
    half += [(0.16, 0.28), (0.235, 0.38), (0.24, 0.5), (0.16, 0.61), (0, 0.64)]
    half = [(x * wide, y) for x, y in half]
    pen.blob(mirrored(half), wood)
    pen.blob([(x * 0.86, 0.03 + y * 0.9) for x, y in mirrored(half)], shade(wood, 1.13), outlined=False)
    for side in (-1, 1):
        hole = [(0.085, 0.1), (0.06, 0.13), (0.1, 0.21), (0.135, 0.29), (0.11, 0.33)]
        for x, y in (hole[0], hole[-1]):
            pen.oval(side * x * wide, y, 0.014, 0.014, EBONY, outlined=False)
        pen.line([(side * x * wide, y) for x, y in hole], 0.017, EBONY)
    pen.tube([(0, -0.12), (0, -0.62)], 0.06, shade(wood, 0.8))
    for y in (-0.63, -0.58):
        pen.line([(-0.085, y), (0.085, y + 0.02)], 0.022, EBONY)
    pen.oval(0, -0.68, 0.048, 0.045, shade(wood, 0.85))
    pen.oval(0, -0.68, 0.02, 0.018, shade(wood, 0.55), outlined=False)
    pen.fill([(-0.028, -0.56), (0.028, -0.56), (0.045, 0.08), (-0.045, 0.08)], EBONY)
    pen.fill([(-0.045, 0.34), (0.045, 0.34), (0.022, 0.6), (-0.022, 0.6)], EBONY)
    _strings(pen, 4, -0.56, 0.36, 0.02, 0.032)
    pen.box(-0.065, 0.235, 0.13, 0.022, (226, 196, 140))
    if look.rng.random() < 0.6:
        pen.oval(-0.1, 0.57, 0.07, 0.04, EBONY)


def violin(pen: Pen, look: Look) -> None:
    """Waisted body, f-holes, scroll and bow: upright, slanted both ways, or with the bow across."""
    wood = look.tint(RED_WOODS if look.rng.random() < 0.85 else PALE_WOODS)
    bow_wood = look.tint(DARK_WOODS)
    turn = (0.0, -38.0, 52.0, 24.0)[look.variant] + look.vary(-6, 6)
    with pen.turned(turn):
        _fiddle(pen, look, wood)
        if look.variant == 0:
            with pen.turned(look.vary(3, 9), 0.32, 0):
                _bow(pen, bow_wood)
        else:
            across = (0.0, 72.0, -78.0, 98.0)[look.variant] + look.vary(-8, 8)
            with pen.turned(across, look.vary(0.05, 0.2), 0.16, 0.9):
                _bow(pen, bow_wood)


def _guitar(pen: Pen, look: Look, wood: Colour, cutaway: bool) -> None:
    neck, hole = look.tint(DARK_WOODS), look.vary(0.085, 0.1)
    half = [(0, -0.1), (0.12, -0.1), (0.2, -0.02), (0.19, 0.1), (0.165, 0.19), (0.2, 0.28), (0.28, 0.4), (0.27, 0.56)]
    half += [(0.16, 0.67), (0, 0.69)]
    contour = mirrored([(x * look.vary(0.97, 1.03), y) for x, y in half])
    if cutaway:
        contour[1:4] = [(0.06, -0.06), (0.08, 0.0), (0.17, 0.02)]
    pen.blob(contour, wood)
    pen.blob([(x * 0.9, 0.03 + y * 0.92) for x, y in contour], shade(wood, 1.12), outlined=False)
    if look.variant == 1:
        pen.blob([(0.06, 0.2), (0.15, 0.22), (0.17, 0.36), (0.1, 0.38)], shade(wood, 0.45), outlined=False)
    for ring in (1.35, 1.18) if look.variant in (0, 3) else (1.2,):
        pen.oval(0, 0.19, hole * ring, hole * ring, shade(wood, 0.6 if ring > 1.3 else 1.4), outlined=False)
    pen.oval(0, 0.19, hole, hole, (30, 20, 16))
    pen.fill([(-0.032, -0.6), (0.032, -0.6), (0.04, 0.1), (-0.04, 0.1)], neck)
    for y in -0.6 + 0.62 * (1 - 0.5 ** (np.arange(1, 13) / 9)):
        pen.line([(-0.035, y), (0.035, y)], 0.007, STRING)
    head = [(-0.045, -0.59), (-0.06, -0.79), (-0.03, -0.82), (0.03, -0.82), (0.06, -0.79), (0.045, -0.59)]
    pen.fill(head, shade(wood, 0.7))
    for y in (-0.76, -0.7, -0.64):
        for side in (-1, 1):
            pen.oval(side * 0.075, y, 0.018, 0.014, (226, 222, 210))
    pen.box(-0.1, 0.44, 0.2, 0.04, neck)
    pen.box(-0.08, 0.45, 0.16, 0.012, IVORY, outlined=False)
    _strings(pen, 6, -0.6, 0.46, 0.026, 0.04)


def acoustic_guitar(pen: Pen, look: Look) -> None:
    """Figure-of-eight body with a round hole: classical, western with a pickguard, cutaway, or dark with rings."""
    plain = look.variant < 3 and look.rng.random() < 0.75
    wood = look.tint(PALE_WOODS if plain else look.pick((RED_WOODS, DARK_WOODS, BLACKS, BRIGHTS)))
    turn = (0.0, -48.0, 40.0, 62.0)[look.variant] + look.vary(-8, 8)
    with pen.turned(turn):
        _guitar(pen, look, wood, cutaway=look.variant == 2)


def banjo(pen: Pen, look: Look) -> None:
    """Round drum head with brackets and a long neck whose fifth peg sits halfway: open back or with resonator."""
    wood, metal, skin = look.tint(RED_WOODS + DARK_WOODS), look.tint(SILVERS), look.tint(WHITES, 5)
    radius, brackets = look.vary(0.27, 0.31), int(look.rng.integers(14, 23))
    turn = (0.0, -46.0, 44.0, 26.0)[look.variant] + look.vary(-7, 7)
    with pen.turned(turn):
        if look.variant in (1, 3):
            pen.oval(0, 0.42, radius * 1.2, radius * 1.2, wood)
        pen.oval(0, 0.42, radius * 1.06, radius * 1.06, metal)
        for angle in np.linspace(0, 2 * np.pi, brackets, endpoint=False):
            x, y = np.cos(angle), np.sin(angle)
            pen.line(
                [(x * radius, 0.42 + y * radius), (x * radius * 1.13, 0.42 + y * radius * 1.13)], 0.018, (90, 90, 96)
            )
        pen.oval(0, 0.42, radius * 0.93, radius * 0.93, skin)
        if look.variant == 2:
            pen.oval(0, 0.42, radius * 0.6, radius * 0.6, shade(skin, 0.92), outlined=False)
        pen.fill([(-0.03, -0.66), (0.03, -0.66), (0.042, 0.2), (-0.042, 0.2)], shade(wood, 0.75))
        for y in -0.64 + 0.78 * (1 - 0.5 ** (np.arange(1, 15) / 8)):
            pen.line([(-0.035, y), (0.035, y)], 0.007, STRING)
        for y in (-0.5, -0.36, -0.2, -0.05):
            pen.oval(0, y, 0.011, 0.011, IVORY, outlined=False)
        head = [(0, -0.84), (0.06, -0.8), (0.045, -0.72), (0.035, -0.64)]
        pen.fill(mirrored(head), wood)
        for y in (-0.79, -0.71):
            for side in (-1, 1):
                pen.oval(side * 0.072, y, 0.02, 0.015, IVORY)
        pen.line([(-0.035, -0.2), (-0.09, -0.22)], 0.018, metal)
        pen.oval(-0.09, -0.22, 0.02, 0.016, IVORY)
        pen.box(-0.075, 0.5, 0.15, 0.024, (196, 150, 92))
        _strings(pen, 5, -0.66, 0.66, 0.022, 0.03)
        pen.fill([(-0.04, 0.66), (0.04, 0.66), (0.025, 0.72), (-0.025, 0.72)], metal)
