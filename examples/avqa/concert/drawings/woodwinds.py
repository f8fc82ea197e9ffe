"""Flute, saxophone and bagpipe."""

from __future__ import annotations

import numpy as np

from .palette import BLACKS, BRASSES, BRIGHTS, DARK_WOODS, EBONY, IVORY, SILVERS
from .pen import Look, Pen, curve, shade


def flute(pen: Pen, look: Look) -> None:
    """A thin straight tube with a lip plate and a row of keys, at a slant; silver, gold or wood."""
    wooden = look.rng.random() < (0.1, 0.15, 0.7, 0.25)[look.variant]
    metal = look.tint(DARK_WOODS if wooden else SILVERS + BRASSES[2:3])
    keys = look.tint(SILVERS) if wooden else shade(metal, 1.35)
    thick = look.vary(0.05, 0.064)
    turn = (-34.0, 32.0, -48.0, 46.0)[look.variant] + look.vary(-7, 7)
    with pen.turned(turn, flip=look.variant in (1, 3)):
        pen.tube([(-0.84, 0), (0, 0), (0.84, 0)], thick, metal)
        for x in (-0.84, -0.36, 0.5):
            pen.box(x, -thick * 0.6, 0.045, thick * 1.2, shade(metal, 0.7))
        pen.blob([(-0.68, -0.01), (-0.6, -thick * 0.85), (-0.52, -0.01), (-0.6, thick * 0.8)], shade(metal, 1.2))
        pen.oval(-0.6, -0.012, 0.028, 0.015, EBONY, outlined=False)
        pen.line([(-0.28, thick * 0.75), (0.78, thick * 0.75)], 0.014, shade(keys, 0.6))
        count = int(look.rng.integers(8, 12))
        for x in np.linspace(-0.24, 0.74, count):
            pen.oval(float(x), -0.005, 0.036, 0.034, keys)
            pen.oval(float(x), -0.005, 0.014, 0.013, shade(keys, 0.55), outlined=False)
        for x in (-0.1, 0.2, 0.6):
            pen.fill(
                [(x, thick * 0.7), (x + 0.08, thick * 1.5), (x + 0.11, thick * 1.2), (x + 0.03, thick * 0.5)], keys
            )


def saxophone(pen: Pen, look: Look) -> None:
    """A conical tube curved up into a bell, with a bent neck, pads and rods; four models, both hands."""
    plated = look.rng.random()
    metal = look.tint(SILVERS if plated < 0.15 else BLACKS if plated > 0.92 else BRASSES)
    keys = shade(metal, 1.3) if plated <= 0.92 else look.tint(BRASSES)
    bell = (0.36, 0.44, 0.38, 0.42)[look.variant] * look.vary(0.94, 1.06)
    rise = (0.0, -0.1, 0.08, -0.06)[look.variant] + look.vary(-0.03, 0.03)
    turn = (4.0, 14.0, 26.0, 18.0)[look.variant] + look.vary(-6, 6)
    with pen.turned(turn, flip=look.variant in (1, 3)):
        path = [(-0.16, -0.5), (-0.14, -0.1), (-0.1, 0.3), (-0.04, 0.56), (0.1, 0.66), (0.24, 0.56)]
        path += [(0.28, 0.36), (0.31, 0.15 + rise), (0.4, -0.06 + rise)]
        pen.tube(path, lambda along: 0.055 + 0.12 * along + (bell - 0.175) * along**7, metal)
        ends = curve(path)[-3:]
        tilt = float(np.degrees(np.arctan2(ends[-1, 1] - ends[0, 1], ends[-1, 0] - ends[0, 0]))) + 90
        with pen.turned(tilt, *path[-1]):
            pen.oval(0, 0, bell / 2, 0.06, shade(metal, 0.75))
            pen.oval(0, 0.008, bell / 2 * 0.8, 0.036, shade(metal, 0.4), outlined=False)
        pen.tube([(-0.16, -0.48), (-0.17, -0.62), (-0.26, -0.7), (-0.4, -0.66)], 0.05, metal)
        pen.tube([(-0.37, -0.675), (-0.46, -0.64), (-0.56, -0.58)], lambda along: 0.055 - 0.02 * along, EBONY)
        pen.box(-0.195, -0.5, 0.07, 0.04, shade(metal, 0.7))
        pen.line([(-0.24, -0.36), (-0.16, 0.42)], 0.016, shade(keys, 0.7))
        pen.line([(-0.06, -0.3), (0.02, 0.4)], 0.014, shade(keys, 0.7))
        for index, y in enumerate(np.linspace(-0.36, 0.42, 8)):
            x = -0.15 + (y + 0.36) * 0.11
            pen.oval(float(x), float(y), 0.034 + 0.004 * index, 0.034 + 0.004 * index, keys)
            pen.oval(float(x), float(y), 0.013, 0.013, shade(keys, 0.55), outlined=False)
        for x, y in ((0.27, 0.4), (0.25, 0.22)):
            pen.oval(x, y, 0.055, 0.055, keys)
            pen.oval(x, y, 0.02, 0.02, shade(keys, 0.55), outlined=False)


def bagpipe(pen: Pen, look: Look) -> None:
    """A big cloth bag, a chanter below, a blowpipe and drones above; three drones or two, spread or parallel."""
    cloth, pipe = look.tint(BRIGHTS + BLACKS[:1]), look.tint(DARK_WOODS + BLACKS)
    stripe, ring = look.tint((*BRIGHTS, IVORY)), look.tint((IVORY, *SILVERS, *BRASSES), 6)
    drones = 2 if look.variant == 2 else 3
    spread = (26.0, 12.0, 22.0, 18.0)[look.variant]
    with pen.turned(look.vary(-6, 6), flip=look.variant in (1, 3)):
        for index in range(drones):
            with pen.turned(-8 + spread * index, -0.06 + 0.13 * index, 0.06):
                long = 0.86 if index == 0 else 0.66
                pen.tube([(0, 0.05), (0, -long)], 0.045, pipe)
                pen.tube([(0, -long * 0.55), (0, -long - 0.02)], 0.066, pipe)
                for y in (-long * 0.3, -long * 0.55, -long):
                    pen.box(-0.045, y - 0.02, 0.09, 0.04, ring)
        pen.tube([(-0.26, 0.1), (-0.42, -0.16), (-0.5, -0.4)], 0.045, pipe)
        pen.box(-0.53, -0.45, 0.05, 0.06, ring)
        pen.tube([(-0.36, 0.3), (-0.46, 0.55), (-0.5, 0.84)], lambda along: 0.045 + 0.03 * along, pipe)
        for y in (0.5, 0.58, 0.66, 0.74):
            pen.oval(-0.44 - (y - 0.5) * 0.17, y, 0.012, 0.014, IVORY, outlined=False)
        puff = look.vary(0.92, 1.08)
        bag = [
            (-0.42, 0.3),
            (-0.3, 0.08),
            (-0.02, -0.02),
            (0.3, 0.0),
            (0.52, 0.18),
            (0.5, 0.4),
            (0.2, 0.5),
            (-0.12, 0.46),
        ]
        pen.blob([(x, 0.24 + (y - 0.24) * puff) for x, y in bag], cloth)
        if look.variant in (0, 3):
            for x in np.linspace(-0.22, 0.38, 5):
                pen.line([(float(x), 0.06), (float(x) + 0.05, 0.43)], 0.022, stripe)
            for y in (0.13, 0.23, 0.33):
                pen.line([(-0.3, y), (0.46, y + 0.02)], 0.016, shade(stripe, 0.8))
        elif look.variant == 1:
            pen.blob([(-0.3, 0.2), (0.0, 0.08), (0.3, 0.12), (0.0, 0.16)], shade(cloth, 1.3), outlined=False)
        pen.line([(-0.34, 0.16), (-0.4, 0.34)], 0.05, ring)
        if look.variant != 2:
            for x in np.linspace(-0.05, 0.45, 6):
                pen.line([(float(x), 0.46), (float(x) + 0.01, 0.56)], 0.018, stripe)
