"""What a concert is: the scene that is sampled, drawn, sounded and asked about. All times in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from examples.avqa.annotations import read_json
from examples.avqa.errors import UserError
from examples.avqa.typed import from_plain

Place = Literal["indoor", "outdoor"]
Split = Literal["train", "val", "test"]

# MUSIC-AVQA's own instrument names, as they stand among its 42 answers.
INSTRUMENTS = (
    "accordion",
    "acoustic_guitar",
    "bagpipe",
    "banjo",
    "drum",
    "flute",
    "piano",
    "saxophone",
    "trumpet",
    "tuba",
    "violin",
    "xylophone",
)


@dataclass(frozen=True)
class Player:
    """One instrument of a concert: how it looks, where it stands, when and how it plays."""

    instrument: str
    seat: float | None
    """Horizontal centre as a fraction of the picture's width, 0 left to 1 right; None where it is not seen."""
    segments: tuple[tuple[float, float], ...]
    """Intervals [start, stop) in which it sounds, sorted and disjoint; empty where it is silent throughout."""
    loud: bool
    fast: bool
    program: int
    """Which of the instrument's sound-font programs, an index into its list of programs."""
    drawing: int
    """Which of the instrument's drawings, an index into its list of drawings."""
    size: float
    """Height as a fraction of the picture's height."""
    tilt: float
    """Rotation in degrees."""
    seed: int
    """Colours, proportions, melody: all that is random about this player below the level of the scene."""

    @property
    def seen(self) -> bool:
        """Whether it is in the picture."""
        return self.seat is not None

    @property
    def heard(self) -> bool:
        """Whether it sounds at any time."""
        return bool(self.segments)

    @property
    def onset(self) -> float:
        """When it first sounds; only for players that are heard."""
        return self.segments[0][0]

    @property
    def sounding(self) -> float:
        """How long it sounds altogether."""
        return sum(stop - start for start, stop in self.segments)


@dataclass(frozen=True)
class Scene:
    """A whole concert."""

    video_id: str
    split: Split
    duration: float
    players: tuple[Player, ...]
    """Seen players from left to right, then the unseen ones."""
    place: Place
    voiceover: tuple[float, float] | None
    """When a voice speaks over the music, or None."""
    seed: int
    """Background, light, motion: all that is random about the scene below its players."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for `scenes.json`; `from_json` is its inverse."""
        record = {key: getattr(self, key) for key in ("video_id", "split", "duration", "place", "voiceover", "seed")}
        return record | {"players": [dict(vars(player)) for player in self.players]}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Scene:
        """The scene that `to_json` wrote.

        Raises:
            TypeError: it is none.
        """
        if not isinstance(record, dict) or not isinstance(record.get("players"), list):
            raise TypeError("no object with players")
        players = tuple(from_plain(Player, player) for player in record["players"])
        rest = from_plain(_SceneAlone, {name: value for name, value in record.items() if name != "players"})
        for player in players:
            _check_intervals("segments", player.segments, rest.duration)
        _check_intervals("voiceover", () if rest.voiceover is None else (rest.voiceover,), rest.duration)
        return cls(players=players, **vars(rest))


def _check_intervals(name: str, intervals: tuple[tuple[float, float], ...], duration: float) -> None:
    times = [0.0, *(time for interval in intervals for time in interval), duration]
    if times != sorted(times):
        raise TypeError(f"{name} are no sorted intervals within the concert")


@dataclass(frozen=True)
class _SceneAlone:
    """A scene's fields but for its players."""

    video_id: str
    split: Split
    duration: float
    place: Place
    voiceover: tuple[float, float] | None
    seed: int


def read_scenes(path: Path) -> list[Scene]:
    """The scenes that `concert` wrote beside its annotations.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    records = read_json(path, "scenes")
    try:
        if not isinstance(records, list):
            raise TypeError("no list")
        return [Scene.from_json(record) for record in records]
    except TypeError as error:
        raise UserError(f"{path} holds no scenes of concerts ({error}); render them again") from None
