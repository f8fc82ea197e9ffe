"""Plausible colours of instruments."""

from __future__ import annotations

from .pen import Colour

RED_WOODS: tuple[Colour, ...] = ((150, 66, 28), (172, 88, 38), (128, 52, 30), (190, 110, 52), (104, 46, 24))
PALE_WOODS: tuple[Colour, ...] = ((222, 176, 110), (205, 150, 86), (232, 196, 140), (190, 128, 64))
DARK_WOODS: tuple[Colour, ...] = ((74, 44, 28), (52, 34, 26), (92, 58, 36), (40, 32, 30))
BRASSES: tuple[Colour, ...] = ((222, 180, 62), (206, 158, 44), (232, 198, 96), (190, 140, 52))
SILVERS: tuple[Colour, ...] = ((196, 200, 208), (176, 182, 192), (214, 216, 220))
BLACKS: tuple[Colour, ...] = ((30, 30, 34), (44, 40, 42), (24, 26, 32))
BRIGHTS: tuple[Colour, ...] = ((176, 30, 38), (28, 66, 150), (24, 108, 72), (200, 92, 24), (96, 40, 120))
WHITES: tuple[Colour, ...] = ((244, 240, 228), (236, 236, 236), (250, 246, 236))
RAINBOW: tuple[Colour, ...] = (
    (206, 40, 46),
    (232, 120, 32),
    (236, 200, 44),
    (70, 160, 64),
    (44, 130, 200),
    (70, 70, 170),
    (150, 60, 150),
)
EBONY: Colour = (34, 28, 28)
IVORY: Colour = (246, 242, 230)
STRING: Colour = (214, 210, 198)
STEEL: Colour = (150, 154, 160)
