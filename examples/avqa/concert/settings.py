"""How the built-in concerts are drawn. Fixed before models were compared, and never tuned on a comparison.

The number of training concerts alone was raised after first trials of QA-TIGER (docs/decisions.md).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from examples.avqa.concert.scene import Split
from examples.avqa.errors import UserError

Range = tuple[float, float]

# By number of seen players, 1 to 4: seats spread evenly, and instruments small enough to stand side by side.
SEATS = {1: (0.5,), 2: (0.22, 0.78), 3: (0.18, 0.5, 0.82), 4: (0.14, 0.38, 0.62, 0.86)}
SIZES = {1: (0.47, 0.55), 2: (0.45, 0.55), 3: (0.41, 0.49), 4: (0.38, 0.44)}

# Close to the shares in MUSIC-AVQA's test split, with somewhat more questions about time.
TYPE_SHARES = {
    ("Audio", "Counting"): 0.108,
    ("Audio", "Comparative"): 0.065,
    ("Visual", "Counting"): 0.125,
    ("Visual", "Location"): 0.125,
    ("Audio-Visual", "Existential"): 0.105,
    ("Audio-Visual", "Location"): 0.100,
    ("Audio-Visual", "Counting"): 0.125,
    ("Audio-Visual", "Comparative"): 0.117,
    ("Audio-Visual", "Temporal"): 0.130,
}


@dataclass(frozen=True)
class ConcertSettings:
    """The numbers behind the data set: seconds, fractions of the picture, degrees.

    Raises:
        UserError: a probability outside [0, 1], an empty split, a range upside down, or music that would
            not fit into `duration`.
    """

    train: int = 2000
    val: int = 100
    test: int = 300
    duration: float = 30.0
    seed: int = 713
    questions_per_concert: float = 9.0
    """Mean number of questions; single concerts have more or fewer."""

    seen_shares: tuple[float, float, float, float] = (0.10, 0.25, 0.40, 0.25)
    """Shares of scenes with 1, 2, 3 and 4 players in the picture."""
    same_instrument: float = 0.20
    """Probability, with two or more seen players, that some of them play the same instrument."""
    three_alike: float = 0.15
    """Probability that these are three players rather than two, where three are seen."""
    silent: float = 0.18
    """Probability that a seen player never sounds."""
    unseen: float = 0.18
    """Probability that one more player is heard but not seen."""
    always: float = 0.12
    """Probability that one of the heard players plays from beginning to end."""
    together: float = 0.15
    """Probability that all other heard players start at the same time."""
    loud: float = 0.50
    fast: float = 0.50
    indoor: float = 0.60
    voiceover: float = 0.25
    held_out: float = 0.30
    """Probability of an instrument's held-out program, and of a held-out drawing; in the test split alone."""

    first_onset: Range = (0.0, 3.0)
    last_onset: float = 18.0
    onset_gap: float = 3.0
    together_onset: Range = (0.0, 1.8)
    together_spread: float = 0.2
    span: Range = (5.0, 12.0)
    """Time from a player's first to its last sound, drawn without regard to its onset."""
    pause: float = 0.25
    """Probability of one pause within the span."""
    pause_length: Range = (1.5, 3.0)
    voiceover_length: Range = (4.0, 10.0)
    seat_jitter: float = 0.02
    tilt: float = 15.0

    def __post_init__(self) -> None:
        for name in ("train", "val", "test"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}, expected at least 1 concert")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple) and len(value) == 2 and not 0 <= value[0] <= value[1]:
                raise UserError(f"{field.name} is {value}, expected (least, greatest), both 0 or more")
        for name in PROBABILITIES:
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} is {getattr(self, name)}, expected a probability from 0 to 1")
        if min(self.seen_shares) < 0 or abs(sum(self.seen_shares) - 1) > 1e-6:
            raise UserError(f"seen_shares are {self.seen_shares}, expected shares that sum to 1")
        needed = max(self.last_onset + self.span[1], self.voiceover_length[1])
        if needed > self.duration:
            raise UserError(
                f"duration is {self.duration} s, but the last onset and the longest span need {needed} s: "
                "raise duration or lower last_onset or span"
            )
        # Five players at most are heard: four seen and one unseen.
        needed = self.first_onset[1] + 4 * self.onset_gap
        if needed > self.last_onset:
            raise UserError(f"last_onset is {self.last_onset} s, but five onsets need {needed} s: lower onset_gap")

    def count(self, split: Split) -> int:
        """Number of concerts of one split."""
        return {"train": self.train, "val": self.val, "test": self.test}[split]

    def to_json(self) -> dict[str, Any]:
        """Plain values for `settings.json`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


PROBABILITIES = (
    "same_instrument",
    "three_alike",
    "silent",
    "unseen",
    "always",
    "together",
    "loud",
    "fast",
    "indoor",
    "voiceover",
    "held_out",
    "pause",
)
