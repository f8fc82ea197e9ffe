"""Drum and xylophone."""

from __future__ import annotations

import numpy as np

from .palette import BLACKS, BRASSES, BRIGHTS, DARK_WOODS, PALE_WOODS, RAINBOW, RED_WOODS, SILVERS, STEEL, WHITES
from .pen import Colour, Look, Pen, shade


def _stick(pen: Pen, x0: float, y0: float, x1: float, y1: float, tip: Colour, knob: float) -> None:
    pen.tube([(x0, y0), (x1, y1)], 0.028, PALE_WOODS[0])
    pen.oval(x1, y1, knob, knob, tip)


def _shell(pen: Pen, x: float, y: float, wide: float, tall: float, shell: Colour, skin: Colour, lugs: int) -> None:
    """A drum seen from slightly above: x, y is the middle of its upper head."""
    flat = wide * 0.3
    t = np.linspace(0, np.pi, 20)
    rim = np.column_stack([x + wide * np.cos(t), y + tall + flat * np.sin(t)])
    pen.fill(np.concatenate([[[x - wide, y]], rim[::-1], [[x + wide, y]]]), shell)
    pen.line(np.column_stack([x + wide * np.cos(t), y + tall - 0.02 + flat * np.sin(t)]), 0.035, STEEL)
    for angle in np.linspace(0.25, np.pi - 0.25, lugs):
        lx, ly = x + wide * float(np.cos(angle)), y + flat * float(np.sin(angle))
        pen.line([(lx, ly + 0.02), (lx, ly + tall)], 0.018, (222, 222, 226))
    pen.oval(x, y, wide * 1.03, flat * 1.08, STEEL)
    pen.oval(x, y, wide * 0.93, flat * 0.9, skin)


def _cymbal(pen: Pen, x: float, y: float, wide: float, tilt: float, foot: float) -> None:
    pen.line([(x, y), (x, foot)], 0.022, STEEL)
    with pen.turned(tilt, x, y):
        pen.oval(0, 0, wide, wide * 0.2, BRASSES[0])
        pen.oval(0, -0.015, wide * 0.28, wide * 0.09, BRASSES[2])


def _front(pen: Pen, x: float, y: float, radius: float, shell: Colour, skin: Colour, claws: int) -> None:
    """A bass drum seen from the front."""
    pen.oval(x, y, radius, radius, shell)
    pen.oval(x, y, radius * 0.9, radius * 0.9, skin)
    for angle in np.linspace(0, 2 * np.pi, claws, endpoint=False):
        cx, cy = float(np.cos(angle)) * radius, float(np.sin(angle)) * radius
        pen.line([(x + cx * 0.88, y + cy * 0.88), (x + cx * 1.05, y + cy * 1.05)], 0.034, STEEL)


def _kit(pen: Pen, look: Look, shell: Colour, skin: Colour, toms: int) -> None:
    _cymbal(pen, -0.6, -0.52, 0.24, look.vary(6, 18), 0.6)
    _cymbal(pen, 0.62, -0.44, 0.22, look.vary(-18, -6), 0.6)
    radius = look.vary(0.34, 0.4)
    _front(pen, 0, 0.3, radius, shell, skin, 10)
    if look.rng.random() < 0.5:
        pen.oval(0.0, 0.3, radius * 0.4, radius * 0.4, shade(shell, 1.2), outlined=False)
    for x in (-0.2, 0.2) if toms == 2 else (0.0,):
        _shell(pen, x, -0.32, 0.18, 0.18, shell, skin, 4)
    for side in (-1, 1):
        for lean in (-0.08, 0.08):
            pen.line([(side * 0.55, 0.3), (side * 0.55 + lean, 0.7)], 0.02, STEEL)
    _shell(pen, -0.55, 0.1, 0.2, 0.13, shade(shell, 0.9), skin, 5)
    _shell(pen, 0.55, 0.08, 0.22, 0.28, shell, skin, 5)


def drum(pen: Pen, look: Look) -> None:
    """A kit with two toms, a snare drum on its stand, a big bass drum with a mallet, or a kit with one tom."""
    shell, skin = look.tint(BRIGHTS + RED_WOODS[:2] + BLACKS[:1] + SILVERS[:1]), look.tint(WHITES, 5)
    if look.variant == 1:
        for lean in (-0.3, 0.0, 0.3):
            pen.line([(lean * 0.3, 0.3), (lean, 0.76)], 0.032, STEEL)
        _shell(pen, 0, -0.12, look.vary(0.48, 0.56), look.vary(0.28, 0.38), shell, skin, 8)
        _stick(pen, -0.55, -0.62, 0.1, -0.14, PALE_WOODS[2], 0.025)
        _stick(pen, 0.62, -0.55, -0.04, -0.08, PALE_WOODS[2], 0.025)
    elif look.variant == 2:
        for side in (-1, 1):
            pen.line([(side * 0.3, 0.3), (side * 0.48, 0.78)], 0.05, DARK_WOODS[0])
        _front(pen, 0, 0.02, look.vary(0.56, 0.62), shell, skin, 14)
        pen.oval(0, 0.02, 0.18, 0.18, shade(skin, 0.86), outlined=False)
        _stick(pen, 0.72, -0.62, 0.22, -0.14, WHITES[0], 0.095)
    else:
        with pen.turned(0, flip=look.variant == 3):
            _kit(pen, look, shell, skin, 2 if look.variant == 0 else 1)


def xylophone(pen: Pen, look: Look) -> None:
    """Bars graded from long to short on a frame, with mallets: wooden or coloured, on legs or flat, one row or two."""
    coloured = look.rng.random() < (0.15, 0.85, 0.2, 0.35)[look.variant]
    wood, frame = look.tint(RED_WOODS + PALE_WOODS[1:]), look.tint(DARK_WOODS + PALE_WOODS[3:] + BLACKS[:1])
    count = int(look.rng.integers(9, 14)) - (2 if look.variant == 1 else 0)
    long, short = look.vary(0.58, 0.68), look.vary(0.24, 0.32)
    legs, middle = look.variant in (0, 3), -0.12 if look.variant in (0, 3) else 0.0
    with pen.turned((0.0, -16.0, 14.0, 0.0)[look.variant] + look.vary(-4, 4), flip=look.variant in (2, 3)):
        if legs:
            for x in (-0.68, 0.64):
                pen.line([(x, middle), (x - 0.06, 0.74)], 0.05, frame)
                pen.line([(x, middle), (x + 0.06, 0.74)], 0.05, frame)
            pen.line([(-0.68, 0.5), (0.64, 0.5)], 0.035, frame)
        places = np.linspace(-0.72, 0.72, count)
        tall = np.linspace(long, short, count)
        if look.variant == 0:
            for x, height in zip(places, tall, strict=True):
                pen.box(float(x) - 0.03, middle, 0.06, float(height) * 0.95, look.pick(SILVERS))
        for side in (-1, 1):
            pen.fill(
                [
                    (-0.82, middle + side * long * 0.3 - 0.025),
                    (0.82, middle + side * short * 0.3 - 0.025),
                    (0.82, middle + side * short * 0.3 + 0.025),
                    (-0.82, middle + side * long * 0.3 + 0.025),
                ],
                frame,
            )
        width = 1.44 / (count - 1) * 0.76
        for index, (x, height) in enumerate(zip(places, tall, strict=True)):
            bar = RAINBOW[index % len(RAINBOW)] if coloured else shade(wood, 0.92 + 0.16 * (index % 2))
            top = middle - float(height) / 2
            pen.box(float(x) - width / 2, top, width, float(height), bar)
            pen.line(
                [(float(x) - width / 4, top + 0.04), (float(x) - width / 4, top + float(height) - 0.04)],
                0.012,
                shade(bar, 1.4),
            )
            for side in (-1, 1):
                pen.oval(float(x), middle + side * float(height) * 0.3, 0.013, 0.013, (60, 56, 54), outlined=False)
        if look.variant == 3:
            for index in range(count - 1):
                if index % 7 not in (2, 6):
                    x = float(places[index] + places[index + 1]) / 2
                    bar = shade(wood, 0.62) if not coloured else (60, 60, 70)
                    pen.box(x - width * 0.4, middle - 0.42, width * 0.8, float(tall[index]) * 0.55, bar)
        knob = look.tint(BRIGHTS + BLACKS)
        _stick(pen, -0.3, 0.5, -0.12, middle - 0.06, knob, 0.05)
        _stick(pen, 0.5, 0.46, 0.2, middle - 0.1, knob, 0.05)
