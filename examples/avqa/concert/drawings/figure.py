"""The musician: a simple head, torso and arms that stand behind the instrument."""

from __future__ import annotations

import numpy as np

from .palette import BLACKS, BRIGHTS, SILVERS, WHITES
from .pen import Colour, Look, Pen, shade

SKINS: tuple[Colour, ...] = ((244, 208, 176), (224, 172, 132), (186, 128, 88), (132, 86, 58), (94, 60, 42))
HAIRS: tuple[Colour, ...] = ((36, 28, 26), (86, 54, 32), (176, 124, 60), (120, 44, 24), (150, 148, 146))
MUTED: tuple[Colour, ...] = ((96, 110, 130), (130, 110, 96), (108, 124, 100), (150, 120, 140))

# Where the instrument is held: its middle on the figure's sheet, and its scale there.
HELD: dict[str, tuple[float, float, float]] = {
    "accordion": (0.0, 0.22, 0.95),
    "acoustic_guitar": (0.04, 0.2, 0.9),
    "bagpipe": (0.08, 0.12, 0.88),
    "banjo": (0.04, 0.18, 0.9),
    "drum": (0.0, 0.28, 0.8),
    "flute": (0.1, -0.3, 0.82),
    "piano": (0.0, 0.34, 0.9),
    "saxophone": (0.1, 0.18, 0.86),
    "trumpet": (0.1, -0.28, 0.82),
    "tuba": (0.02, 0.12, 0.92),
    "violin": (0.12, 0.08, 0.84),
    "xylophone": (0.0, 0.36, 0.9),
}


def figure(pen: Pen, look: Look, hands_height: float) -> None:
    """A person from the waist up, hands forward at `hands_height`."""
    skin, hair = look.tint(SKINS, 8), look.tint(HAIRS, 10)
    cloth = look.tint(BRIGHTS + BLACKS + WHITES[:1] + SILVERS + MUTED + MUTED)
    broad, head = look.vary(0.27, 0.34), look.vary(0.135, 0.16)
    lean = look.vary(-0.03, 0.03)
    pen.blob(
        [
            (-broad, -0.28),
            (-0.1, -0.36),
            (0.1, -0.36),
            (broad, -0.28),
            (broad * 0.95, 0.2),
            (broad, 0.8),
            (0, 0.86),
            (-broad, 0.8),
            (-broad * 0.95, 0.2),
        ],
        cloth,
    )
    for side in (-1, 1):
        elbow = (side * (broad + 0.08), min(hands_height + 0.2, 0.25))
        pen.tube([(side * broad * 0.92, -0.24), elbow, (side * 0.2, hands_height)], 0.12, shade(cloth, 0.88))
        pen.oval(side * 0.2, hands_height, 0.06, 0.055, skin)
    pen.box(-0.055 + lean, -0.46, 0.11, 0.12, shade(skin, 0.9))
    long = look.rng.random() < 0.4
    if long:
        pen.oval(lean, -0.56, head * 1.2, head * 1.5, hair)
    pen.oval(lean, -0.6, head, head * 1.15, skin)
    t = np.linspace(np.pi, 2 * np.pi, 14)
    fringe = -0.6 - head * look.vary(0.2, 0.55)
    crown = np.column_stack([lean + head * 1.06 * np.cos(t), -0.62 + head * 1.2 * np.sin(t)])
    pen.fill(np.concatenate([crown, [[lean + head * 0.5, fringe], [lean - head * 0.5, fringe]]]), hair)
    for side in (-1, 1):
        pen.oval(lean + side * head * 0.4, -0.59, 0.014, 0.016, (40, 34, 34), outlined=False)
    pen.line([(lean - 0.03, -0.52), (lean + 0.03, -0.52)], 0.014, shade(skin, 0.6))
