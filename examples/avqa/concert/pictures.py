"""A player's picture: its instrument in one of four drawings, in about half of the cases with a musician behind it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

from .drawings.brass import trumpet, tuba
from .drawings.figure import HELD, figure
from .drawings.keys import accordion, piano
from .drawings.pen import Colour, Look, Pen
from .drawings.percussion import drum, xylophone
from .drawings.strings import acoustic_guitar, banjo, violin
from .drawings.woodwinds import bagpipe, flute, saxophone
from .scene import Player

NUM_DRAWINGS = 4
"""Drawings an instrument; by convention the last is held out for test."""

WIDEST = 1.2
"""A picture wider than this, relative to its height, is made lower instead, so that players fit beside each other."""

DRAWINGS: dict[str, Callable[[Pen, Look], None]] = {
    "accordion": accordion,
    "acoustic_guitar": acoustic_guitar,
    "bagpipe": bagpipe,
    "banjo": banjo,
    "drum": drum,
    "flute": flute,
    "piano": piano,
    "saxophone": saxophone,
    "trumpet": trumpet,
    "tuba": tuba,
    "violin": violin,
    "xylophone": xylophone,
}

# Per drawing: outline in drawing units, its ink, and how strongly the shapes are lit.
STYLES: tuple[tuple[float, Colour, float], ...] = (
    (0.016, (28, 24, 26), 0.0),
    (0.008, (60, 46, 40), 1.0),
    (0.0, (0, 0, 0), 0.7),
    (0.022, (44, 34, 60), 0.5),
)

SUPERSAMPLING = 3


def draw_player(player: Player, picture_height: int) -> npt.NDArray[np.uint8]:
    """The player as it stands in a picture of `picture_height` pixels, untilted: RGBA [height, width, 4].

    It is at most `player.size * picture_height` pixels high and cut to its contents.
    """
    look = Look(player.drawing, np.random.default_rng([player.seed, 1]))
    height = max(8, round(player.size * picture_height))
    outline, ink, relief = STYLES[player.drawing]
    # The sheet is about 1.8 drawing units, most drawings fill 1.4 of them.
    pen = Pen(SUPERSAMPLING * round(height * 1.25), outline * look.vary(0.7, 1.4), ink)
    draw = DRAWINGS[player.instrument]
    if look.rng.random() < 0.5:
        x, y, scale = HELD[player.instrument]
        figure(pen, look, min(y + 0.1, 0.3))
        with pen.turned(0, x, y, scale):
            draw(pen, look)
    else:
        draw(pen, look)
    sheet = pen.finished(relief * look.vary(0.7, 1.2))
    cut = sheet.crop(sheet.getbbox())
    scale = min(height / cut.height, WIDEST * height / cut.width)
    size = (max(1, round(cut.width * scale)), max(1, round(cut.height * scale)))
    return np.asarray(cut.resize(size, Image.Resampling.BOX if scale < 0.5 else Image.Resampling.BICUBIC))
