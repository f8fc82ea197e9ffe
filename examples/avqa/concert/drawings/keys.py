"""Piano and accordion."""

from __future__ import annotations

import numpy as np

from .palette import BLACKS, BRASSES, BRIGHTS, DARK_WOODS, EBONY, IVORY, RED_WOODS, SILVERS, WHITES
from .pen import Colour, Look, Pen, Point, shade

BLACK_KEYS = (0, 1, 3, 4, 5)


def _keyboard(pen: Pen, corners: tuple[Point, Point, Point, Point], count: int) -> None:
    """White and black keys in a quadrilateral: back left, back right, front right, front left."""
    back_left, back_right, front_right, front_left = (np.array(corner) for corner in corners)
    pen.fill([tuple(c) for c in (back_left, back_right, front_right, front_left)], IVORY)

    def at(across: float, depth: float) -> Point:
        back = back_left + (back_right - back_left) * across
        front = front_left + (front_right - front_left) * across
        x, y = back + (front - back) * depth
        return (float(x), float(y))

    for key in range(1, count):
        pen.line([at(key / count, 0), at(key / count, 1)], 0.007, (120, 116, 110))
    for key in range(count - 1):
        if key % 7 in BLACK_KEYS:
            left, right = (key + 0.68) / count, (key + 1.32) / count
            pen.fill([at(left, 0), at(right, 0), at(right, 0.6), at(left, 0.6)], EBONY, outlined=False)


def _grand(pen: Pen, look: Look, wood: Colour) -> None:
    inside, high = look.tint(RED_WOODS + BRASSES), look.vary(0.42, 0.52)
    for x, y in ((-0.6, 0.68), (0.52, 0.68), (0.12, 0.56)):
        pen.fill([(x - 0.045, 0.24), (x + 0.045, 0.24), (x + 0.025, y), (x - 0.025, y)], shade(wood, 0.75))
        pen.oval(x, y, 0.03, 0.03, BRASSES[0])
    lid = [(-0.5, -0.02), (0.66, -0.02), (0.74, -high * 0.75), (0.44, -high - 0.1), (0.0, -high - 0.14), (-0.3, -high)]
    pen.fill(lid, shade(wood, 1.18))
    pen.fill([(x * 0.9 + 0.02, y * 0.9 - 0.01) for x, y in lid], shade(wood, 1.32), outlined=False)
    pen.line([(0.4, 0.0), (0.5, -high * 0.62)], 0.018, BRASSES[0])
    pen.fill([(-0.72, 0.02), (0.6, 0.02), (0.76, -0.06), (-0.5, -0.06)], inside)
    for x in np.linspace(-0.35, 0.6, 9):
        pen.line([(float(x), -0.05), (float(x) - 0.08, 0.015)], 0.006, shade(inside, 1.5))
    side = [
        (-0.74, 0.02),
        (0.56, 0.02),
        (0.72, -0.02),
        (0.78, 0.06),
        (0.76, 0.18),
        (0.6, 0.26),
        (-0.56, 0.3),
        (-0.74, 0.3),
    ]
    pen.fill(side, wood)
    pen.line([(-0.5, 0.2), (0.58, 0.17)], 0.02, shade(wood, 1.4))
    _keyboard(pen, ((-0.74, 0.09), (-0.3, 0.09), (-0.42, 0.22), (-0.84, 0.22)), 12)
    pen.fill([(-0.84, 0.22), (-0.42, 0.22), (-0.42, 0.3), (-0.84, 0.3)], shade(wood, 0.9))


def _upright(pen: Pen, look: Look, wood: Colour) -> None:
    tall, panel = look.vary(0.5, 0.62), shade(wood, 1.16)
    pen.box(-0.7, -tall, 1.4, tall + 0.66, wood)
    pen.box(-0.74, -tall - 0.05, 1.48, 0.07, shade(wood, 0.85))
    for x in (-0.6, 0.06):
        pen.box(x, -tall + 0.1, 0.54, tall - 0.2, panel)
    pen.box(-0.26, -tall + 0.2, 0.52, 0.22, WHITES[0])
    for y in (0.05, 0.1, 0.15):
        pen.line([(-0.22, -tall + 0.2 + y), (0.22, -tall + 0.2 + y)], 0.008, (110, 110, 110))
    pen.box(-0.56, 0.28, 1.12, 0.3, panel)
    for x in (-0.72, 0.62):
        pen.box(x, 0.14, 0.1, 0.54, shade(wood, 0.8))
    pen.fill([(-0.72, 0.0), (0.72, 0.0), (0.78, 0.2), (-0.78, 0.2)], shade(wood, 0.75))
    _keyboard(pen, ((-0.64, 0.02), (0.64, 0.02), (0.69, 0.14), (-0.69, 0.14)), 22)
    for x in (-0.07, 0.07):
        pen.box(x - 0.025, 0.6, 0.05, 0.04, BRASSES[0])


def piano(pen: Pen, look: Look) -> None:
    """A grand with its lid up, from the left or the right, or an upright with its music stand."""
    black = look.rng.random() < (0.75, 0.3, 0.35, 0.6)[look.variant]
    wood = look.tint(BLACKS if black else DARK_WOODS + RED_WOODS + (WHITES[1],), 8)
    if look.variant == 1:
        _upright(pen, look, wood)
    else:
        turn = (0.0, 0.0, -5.0, 4.0)[look.variant] + look.vary(-2, 2)
        with pen.turned(turn, flip=look.variant != 0, scale=look.vary(0.9, 1.0)):
            _grand(pen, look, wood)
            if look.variant == 3:
                pen.box(-0.86, 0.48, 0.26, 0.07, shade(wood, 0.9))
                for x in (-0.84, -0.64):
                    pen.line([(x, 0.54), (x, 0.78)], 0.024, shade(wood, 0.7))


def accordion(pen: Pen, look: Look) -> None:
    """Two boxes joined by pleated bellows, keys on one side and bass buttons on the other; straight or fanned out."""
    body, fold = look.tint(BRIGHTS + BLACKS), look.tint((IVORY, *BLACKS, *SILVERS, *BRIGHTS), 10)
    trim = look.tint(BRASSES + SILVERS)
    fan = (0.0, 22.0, 34.0, 14.0)[look.variant] * look.vary(0.85, 1.15)
    pleats, gap = int(look.rng.integers(9, 14)), look.vary(0.2, 0.3)
    with pen.turned((0.0, 6.0, -4.0, -10.0)[look.variant] + look.vary(-4, 4), flip=look.variant in (1, 3)):
        edges = []
        for share in np.linspace(0, 1, 2 * pleats + 1):
            angle = np.deg2rad(fan * (share - 0.5))
            x = (share - 0.5) * 2 * gap + np.sin(angle) * 0.2
            edges.append((np.array([x, 0.0]), np.array([-np.sin(angle), np.cos(angle)])))
        for index in range(2 * pleats):
            (a, up_a), (b, up_b) = edges[index], edges[index + 1]
            tall = 0.46 if index % 2 else 0.42
            other = 0.42 if index % 2 else 0.46
            quad = [a - up_a * tall, b - up_b * other, b + up_b * other, a + up_a * tall]
            pen.fill([(float(x), float(y)) for x, y in quad], shade(fold, 1.2 if index % 2 else 0.62), outlined=False)
        for side in (-1, 1):
            (middle, _), angle = edges[0 if side < 0 else -1], fan * 0.5 * side
            with pen.turned(angle, float(middle[0]), 0.0):
                outer = side * 0.26
                pen.fill(
                    [(0, -0.5), (outer * 0.85, -0.5), (outer, -0.44), (outer, 0.44), (outer * 0.85, 0.5), (0, 0.5)],
                    body,
                )
                pen.fill([(0, -0.5), (side * 0.035, -0.5), (side * 0.035, 0.5), (0, 0.5)], trim)
                if side < 0:
                    for row in range(3):
                        for y in np.linspace(-0.34, 0.34, 9):
                            pen.oval(outer + 0.05 + row * 0.055, float(y), 0.019, 0.019, WHITES[0], outlined=False)
                elif look.variant == 2:
                    for row in range(3):
                        for y in np.linspace(-0.4, 0.4, 10):
                            pen.oval(outer - 0.03 - row * 0.065, float(y), 0.027, 0.027, IVORY)
                else:
                    _keyboard(pen, ((0.2, -0.5), (0.2, 0.5), (0.42, 0.5), (0.42, -0.5)), 14)
                    pen.blob([(0.07, -0.4), (0.14, -0.3), (0.14, 0.3), (0.07, 0.4)], shade(trim, 0.8))
                    pen.line([(0.1, -0.28), (0.1, 0.28)], 0.02, shade(trim, 0.45))
