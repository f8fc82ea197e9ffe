"""Where a concert takes place: a room or a landscape, different in every scene."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from .scene import Place

Colour = tuple[int, int, int]
Picture = npt.NDArray[np.uint8]

SUPERSAMPLING = 2
WALLS: tuple[Colour, ...] = (
    (214, 198, 170),
    (178, 190, 204),
    (196, 176, 180),
    (170, 186, 160),
    (232, 226, 214),
    (120, 96, 92),
)
FLOORS: tuple[Colour, ...] = ((140, 98, 62), (104, 74, 52), (168, 128, 88), (92, 92, 98), (150, 60, 58))
CURTAINS: tuple[Colour, ...] = ((140, 30, 40), (38, 62, 110), (60, 92, 64), (110, 70, 120), (196, 160, 80))
SKIES: tuple[Colour, ...] = ((126, 182, 232), (168, 204, 230), (240, 180, 140), (150, 158, 172), (96, 140, 206))
GREENS: tuple[Colour, ...] = ((96, 140, 66), (122, 158, 82), (76, 118, 70), (150, 150, 84))
HOUSES: tuple[Colour, ...] = ((186, 150, 122), (206, 198, 184), (168, 96, 84), (140, 150, 160))


def draw_backdrop(place: Place, width: int, height: int, rng: np.random.Generator) -> Picture:
    """The empty stage, RGB [height, width, 3]."""
    sheet = Image.new("RGB", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    brush = _Brush(sheet, rng)
    if place == "indoor":
        _room(brush)
    else:
        _landscape(brush)
    picture = sheet.resize((width, height), Image.Resampling.BOX).filter(
        ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2))
    )
    light = rng.uniform(0.72, 1.12)
    pixels = np.asarray(picture, dtype=np.float32) * light + rng.normal(0, rng.uniform(1, 5), (height, width, 1))
    return np.clip(pixels, 0, 255).astype(np.uint8)


class _Brush:
    """Draws in fractions of the sheet, x to the right and y down."""

    def __init__(self, sheet: Image.Image, rng: np.random.Generator) -> None:
        self.sheet, self.rng, self._draw = sheet, rng, ImageDraw.Draw(sheet)

    def vary(self, colour: Colour, much: float = 18) -> Colour:
        """A colour near the given one."""
        red, green, blue = (int(np.clip(part + self.rng.normal(0, much), 0, 255)) for part in colour)
        return red, green, blue

    def pick(self, colours: tuple[Colour, ...]) -> Colour:
        """One of the colours, varied."""
        return self.vary(colours[int(self.rng.integers(len(colours)))])

    def gradient(self, top: Colour, bottom: Colour, y0: float, y1: float) -> None:
        """A band across the whole sheet."""
        width, height = self.sheet.size
        rows = np.linspace(0, 1, max(round((y1 - y0) * height), 1))[:, None, None]
        band = np.array(top) * (1 - rows) + np.array(bottom) * rows
        band = np.broadcast_to(band, (len(rows), width, 3)).astype(np.uint8)
        self.sheet.paste(Image.fromarray(band), (0, round(y0 * height)))

    def polygon(self, points: list[tuple[float, float]], colour: Colour) -> None:
        """A filled polygon."""
        width, height = self.sheet.size
        self._draw.polygon([(x * width, y * height) for x, y in points], fill=colour)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """A filled rectangle."""
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour)

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """A filled ellipse."""
        width, height = self.sheet.size
        self._draw.ellipse([(x - rx) * width, (y - ry) * height, (x + rx) * width, (y + ry) * height], fill=colour)


def _darker(colour: Colour, factor: float) -> Colour:
    red, green, blue = (int(min(part * factor, 255)) for part in colour)
    return red, green, blue


def _room(brush: _Brush) -> None:
    rng = brush.rng
    wall, floor = brush.pick(WALLS), brush.pick(FLOORS)
    edge = rng.uniform(0.66, 0.8)
    brush.gradient(_darker(wall, 0.9), wall, 0, edge)
    if rng.random() < 0.4:
        for x in np.arange(0, 1, rng.uniform(0.04, 0.09)):
            brush.box(float(x), 0, float(x) + 0.006, edge, _darker(wall, 0.93))
    for _ in range(int(rng.integers(0, 3))):
        _window(brush, rng.uniform(0.03, 0.8), rng.uniform(0.08, 0.2))
    for _ in range(int(rng.integers(0, 4))):
        x, y, w, h = rng.uniform(0.02, 0.9), rng.uniform(0.06, 0.3), rng.uniform(0.05, 0.12), rng.uniform(0.1, 0.22)
        brush.box(x, y, x + w, y + h, brush.pick(FLOORS))
        brush.box(x + 0.01, y + 0.02, x + w - 0.01, y + h - 0.02, brush.pick(SKIES + GREENS))
    brush.gradient(_darker(floor, 0.8), floor, edge, 1)
    for y in np.linspace(edge, 1, int(rng.integers(3, 7)))[1:-1]:
        brush.box(0, float(y), 1, float(y) + 0.004, _darker(floor, 0.7))
    brush.box(0, edge - 0.02, 1, edge, _darker(wall, 0.6))
    if rng.random() < 0.5:
        brush.oval(rng.uniform(0.3, 0.7), rng.uniform(0.86, 0.95), rng.uniform(0.2, 0.45), 0.08, brush.pick(CURTAINS))
    if rng.random() < 0.55:
        _curtains(brush)
    if rng.random() < 0.5:
        x = rng.uniform(0.1, 0.9)
        brush.box(x - 0.002, 0, x + 0.002, 0.08, (60, 60, 60))
        brush.polygon([(x - 0.02, 0.08), (x + 0.02, 0.08), (x + 0.05, 0.15), (x - 0.05, 0.15)], (250, 236, 190))


def _window(brush: _Brush, x: float, y: float) -> None:
    width, height = brush.rng.uniform(0.1, 0.2), brush.rng.uniform(0.25, 0.42)
    brush.box(x, y, x + width, y + height, (236, 232, 224))
    pane = brush.pick(SKIES)
    for column in range(2):
        for row in range(2):
            left, top = x + 0.01 + column * (width / 2 - 0.003), y + 0.015 + row * (height / 2 - 0.005)
            brush.box(left, top, left + width / 2 - 0.014, top + height / 2 - 0.02, pane)


def _curtains(brush: _Brush) -> None:
    colour, width = brush.pick(CURTAINS), brush.rng.uniform(0.06, 0.14)
    for left in (0.0, 1 - width):
        for number, x in enumerate(np.linspace(left, left + width, 7)[:-1]):
            brush.box(float(x), 0, float(x) + width / 6, 0.9, _darker(colour, 0.8 + 0.3 * (number % 2)))
    brush.box(0, 0, 1, brush.rng.uniform(0.03, 0.09), _darker(colour, 0.85))


def _landscape(brush: _Brush) -> None:
    rng = brush.rng
    sky, ground = brush.pick(SKIES), brush.pick(GREENS)
    horizon = rng.uniform(0.5, 0.72)
    brush.gradient(sky, brush.vary((232, 232, 226)), 0, horizon)
    if rng.random() < 0.5:
        brush.oval(rng.uniform(0.05, 0.95), rng.uniform(0.06, 0.25), 0.035, 0.06, (255, 240, 190))
    for _ in range(int(rng.integers(0, 5))):
        x, y = rng.uniform(0, 1), rng.uniform(0.04, 0.3)
        for _ in range(4):
            brush.oval(
                x + rng.uniform(-0.06, 0.06),
                y + rng.uniform(-0.015, 0.015),
                rng.uniform(0.03, 0.07),
                0.03,
                (246, 246, 246),
            )
    for depth in range(int(rng.integers(1, 4))):
        tops = horizon - np.abs(rng.uniform(0, 0.2 - 0.05 * depth, size=7))
        ridge = [(float(x), float(y)) for x, y in zip(np.linspace(0, 1, 7), tops, strict=True)]
        brush.polygon(
            [(0, horizon + 0.01), *ridge, (1, horizon + 0.01)], _darker(brush.pick(GREENS), 0.75 + 0.12 * depth)
        )
    if rng.random() < 0.4:
        for _ in range(int(rng.integers(1, 5))):
            _house(brush, rng.uniform(0, 0.9), horizon)
    brush.gradient(ground, _darker(ground, 0.75), horizon, 1)
    if rng.random() < 0.35:
        middle, far, near = rng.uniform(0.2, 0.8), rng.uniform(0.02, 0.06), rng.uniform(0.15, 0.4)
        brush.polygon(
            [(middle - far, horizon), (middle + far, horizon), (middle + near, 1), (middle - near, 1)], (164, 152, 136)
        )
    for _ in range(int(rng.integers(0, 6))):
        _tree(brush, rng.uniform(0, 1), horizon + rng.uniform(0, 0.06))
    for _ in range(int(rng.integers(0, 40))):
        brush.oval(rng.uniform(0, 1), rng.uniform(horizon + 0.05, 1), 0.004, 0.007, brush.pick(CURTAINS))


def _house(brush: _Brush, x: float, horizon: float) -> None:
    width, height = brush.rng.uniform(0.08, 0.18), brush.rng.uniform(0.12, 0.28)
    wall = brush.pick(HOUSES)
    brush.box(x, horizon - height, x + width, horizon + 0.02, wall)
    roof = [(x - 0.01, horizon - height), (x + width / 2, horizon - height - 0.1), (x + width + 0.01, horizon - height)]
    brush.polygon(roof, _darker(brush.pick(HOUSES), 0.6))
    for column in range(2):
        left = x + width * (0.18 + 0.42 * column)
        brush.box(left, horizon - height * 0.75, left + width * 0.2, horizon - height * 0.45, (70, 84, 100))


def _tree(brush: _Brush, x: float, foot: float) -> None:
    rng = brush.rng
    height, leaves = rng.uniform(0.18, 0.45), _darker(brush.pick(GREENS), rng.uniform(0.55, 0.85))
    brush.box(x - 0.008, foot - height * 0.5, x + 0.008, foot, (92, 68, 48))
    if rng.random() < 0.4:
        brush.polygon(
            [(x - 0.06, foot - height * 0.25), (x, foot - height * 1.1), (x + 0.06, foot - height * 0.25)], leaves
        )
        return
    for _ in range(7):
        brush.oval(
            x + rng.uniform(-0.05, 0.05), foot - height * rng.uniform(0.5, 1.0), 0.045, 0.075, brush.vary(leaves, 8)
        )
