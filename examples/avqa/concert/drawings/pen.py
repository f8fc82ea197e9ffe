"""A pen for vector drawings: filled curves and tubes in drawing units, transformed, outlined and shaded on a raster.

Drawing units: the origin is the middle of the sheet, x to the right, y down, the sheet spans -0.9 to 0.9 both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Point = tuple[float, float]
Points = Sequence[Point] | npt.NDArray[np.float64]
T = TypeVar("T")

EXTENT = 0.9


def shade(colour: Colour, factor: float) -> Colour:
    """The colour darkened towards black (factor below 1) or lightened towards white (above 1)."""
    if factor <= 1:
        return (int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor))
    share = min(factor - 1, 1)
    return (
        int(colour[0] + (255 - colour[0]) * share),
        int(colour[1] + (255 - colour[1]) * share),
        int(colour[2] + (255 - colour[2]) * share),
    )


def mirrored(right: Sequence[Point]) -> list[Point]:
    """A closed contour from its right half, given from top to bottom."""
    return [*right, *((-x, y) for x, y in reversed(right) if abs(x) > 1e-6)]


def curve(points: Points, closed: bool = False, steps: int = 8) -> npt.NDArray[np.float64]:
    """A Catmull-Rom spline through `points` [N, 2], `steps` samples a piece."""
    knots = np.asarray(points, dtype=np.float64)
    if closed:
        knots = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        knots = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    before, start, stop, after = (knots[i : len(knots) - 3 + i, None] for i in range(4))
    path = start + 0.5 * t * (
        stop - before + t * (2 * before - 5 * start + 4 * stop - after + t * (3 * (start - stop) + after - before))
    )
    path = path.reshape(-1, 2)
    return path if closed else np.concatenate([path, knots[-2:-1]])


class Look:
    """All that is random about one drawing: its variant (which design) and a generator for the rest."""

    def __init__(self, variant: int, rng: np.random.Generator) -> None:
        self.variant = variant
        self.rng = rng

    def pick(self, choices: Sequence[T]) -> T:
        """One of `choices`, all equally likely."""
        return choices[int(self.rng.integers(len(choices)))]

    def vary(self, low: float, high: float) -> float:
        """A number between `low` and `high`."""
        return float(self.rng.uniform(low, high))

    def tint(self, colours: Sequence[Colour], spread: int = 14) -> Colour:
        """One of `colours`, each channel moved by up to `spread`."""
        moved = np.clip(np.add(self.pick(colours), self.rng.integers(-spread, spread + 1, 3)), 0, 255)
        return (int(moved[0]), int(moved[1]), int(moved[2]))


class Pen:
    """Draws on a transparent square sheet of `pixels` by `pixels`; every fill gets an outline of `outline` units."""

    def __init__(self, pixels: int, outline: float, ink: Colour) -> None:
        self.image = Image.new("RGBA", (pixels, pixels))
        self.draw = ImageDraw.Draw(self.image)
        self.outline = outline
        self.ink = ink
        self._scale = pixels / (2 * EXTENT)
        self._matrix = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])

    @contextmanager
    def turned(
        self, degrees: float, x: float = 0.0, y: float = 0.0, scale: float = 1.0, flip: bool = False
    ) -> Iterator[None]:
        """What is drawn inside is mirrored (`flip`), scaled, turned clockwise and moved to (x, y)."""
        saved, angle = self._matrix, np.deg2rad(degrees)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        if flip:
            turn = turn @ np.diag([-1.0, 1.0])
        self._matrix = np.column_stack([saved[:, :2] @ turn, saved[:, :2] @ [x, y] + saved[:, 2]])
        try:
            yield
        finally:
            self._matrix = saved

    def _pixels(self, points: Points) -> list[Point]:
        moved = np.asarray(points, dtype=np.float64) @ self._matrix[:, :2].T + self._matrix[:, 2]
        return [(float(x), float(y)) for x, y in (moved + EXTENT) * self._scale]

    def _width(self, width: float) -> int:
        return max(1, round(width * self._scale * float(np.linalg.norm(self._matrix[:, 0]))))

    def fill(self, points: Points, colour: Colour, outlined: bool = True) -> None:
        """A filled polygon."""
        corners = self._pixels(points)
        self.draw.polygon(corners, fill=(*colour, 255))
        if outlined and self.outline > 0:
            width = max(1, round(self.outline * self._scale))
            self.draw.line([*corners, corners[0]], fill=(*self.ink, 255), width=width, joint="curve")

    def blob(self, points: Points, colour: Colour, outlined: bool = True) -> None:
        """A filled smooth closed curve through `points`."""
        self.fill(curve(points, closed=True), colour, outlined)

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour, outlined: bool = True) -> None:
        """A filled ellipse."""
        t = np.linspace(0, 2 * np.pi, 36, endpoint=False)
        self.fill(np.column_stack([x + rx * np.cos(t), y + ry * np.sin(t)]), colour, outlined)

    def box(self, x: float, y: float, width: float, height: float, colour: Colour, outlined: bool = True) -> None:
        """A filled rectangle from its top left corner."""
        self.fill([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], colour, outlined)

    def line(self, points: Points, width: float, colour: Colour) -> None:
        """An open stroke without an outline."""
        self.draw.line(self._pixels(points), fill=(*colour, 255), width=self._width(width), joint="curve")

    def tube(self, points: Points, width: float | Callable[[npt.NDArray[np.float64]], object], colour: Colour) -> None:
        """A smooth pipe through `points`; `width` may be a function of the fraction of the way, 0 to 1."""
        path = curve(points)
        along = np.linspace(0, 1, len(path))
        half = np.broadcast_to(np.asarray(width(along) if callable(width) else width) / 2, along.shape)
        slope = np.gradient(path, axis=0)
        normal = np.column_stack([-slope[:, 1], slope[:, 0]])
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        left, right = path + normal * half[:, None], path - normal * half[:, None]
        self.fill(np.concatenate([left, right[::-1]]), colour)
        shine = path + normal * half[:, None] * 0.35
        self.line(shine, float(half.mean()) * 0.35, shade(colour, 1.35))

    def finished(self, relief: float) -> Image.Image:
        """The sheet; with `relief` above 0 lit from the upper left as if its shapes were rounded."""
        if relief <= 0:
            return self.image
        alpha = self.image.getchannel("A")
        small = alpha.resize((96, 96), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(2.2))
        height = np.asarray(small, dtype=np.float32) / 255
        fall = np.gradient(height)
        light = np.clip(1 + relief * 3 * (fall[0] + fall[1]), 0.45, 1.6)
        sheet = Image.fromarray((light * 100).astype(np.uint8)).resize(self.image.size, Image.Resampling.BILINEAR)
        colours = np.asarray(self.image, dtype=np.float32).copy()
        colours[..., :3] *= np.asarray(sheet, dtype=np.float32)[..., None] / 100
        return Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8), "RGBA")
