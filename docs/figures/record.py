"""What is recorded of a trained model's routing over a test split: its shape, and how it is read and checked.

G points of a clip's own time, E experts. Every list of numbers is a mean over questions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from examples.avqa.annotations import read_json
from examples.avqa.errors import UserError
from examples.avqa.files import write_text

PATH = Path(__file__).with_name("recorded") / "routing.json"
MIXTURES = ("sound", "sight")
"""The model's two mixtures: of the audio, and of what audio and video read in the patches, routed by the video."""
POINTS = 57
"""G: where timelines are recorded, evenly from a clip's first frame to its last."""
BINS = 56
"""Of the histograms of centers: eight for each seventh of a clip."""


@dataclass(frozen=True)
class Look:
    """How one mixture looked for the questions of one kind."""

    timeline: Sequence[float]
    """[G], the weight of all experts together, `sum_k p_k g_k`."""
    gates: Sequence[float]
    """[E], 0 where an expert is not in use; sums to 1."""
    entropy: float
    """Of one question's gates, in nats, at most ln K."""


@dataclass(frozen=True)
class Kind:
    """The questions of one kind: one of the nine types, or one topic."""

    name: str
    is_topic: bool
    count: int
    accuracy: float
    looks: Mapping[str, Look]
    """By mixture."""


@dataclass(frozen=True)
class Spread:
    """How one mixture's Gaussians are spread over all questions, each counted as much as its gate."""

    centers: Sequence[Sequence[float]]
    """[E, BINS], histograms over the clip's own time; all of them together sum to 1."""
    stds: Sequence[float]
    """10th, 50th and 90th percentile, fraction of the clip."""
    within_kinds: float
    """Part of the variance of the timelines' means that lies within topics (or types): 0, the kind of the question
    alone decides when to look; 1, it decides nothing."""


@dataclass(frozen=True)
class Found:
    """Which part of a timeline lies where the player that was asked for sounds, over the questions of one topic."""

    topic: str
    count: int
    uniform: float
    """The same of a timeline that weights every frame alike."""
    own: Mapping[str, float]
    """By mixture."""
    others: Mapping[str, float]
    """The same of the mean timeline of all other questions of the topic, which knows nothing of the clip."""
    gain_error: Mapping[str, float]
    """Standard error of own minus others."""


@dataclass(frozen=True)
class Gaussians:
    """One mixture's experts for one question, K of each."""

    indices: Sequence[int]
    gates: Sequence[float]
    centers: Sequence[float]
    stds: Sequence[float]


@dataclass(frozen=True)
class Asked:
    """One question about the example concert."""

    text: str
    answer: str
    predicted: str
    probability: float
    looks: Mapping[str, Gaussians]
    """By mixture."""


@dataclass(frozen=True)
class Example:
    """One concert with several questions."""

    video_id: str
    seconds: float
    players: Sequence[tuple[str, Sequence[tuple[float, float]]]]
    """Instrument, and when it sounds, in seconds; those that are heard, by onset."""
    asked: Sequence[Asked]


@dataclass(frozen=True)
class Record:
    """The whole record."""

    provenance: Mapping[str, str]
    clips: int
    questions: int
    frames: int
    """Most frames of a clip, as the model sees them."""
    experts: int
    accuracy: float
    text_only: float
    """What the most frequent training answer to the same text scores."""
    kinds: Sequence[Kind]
    spreads: Mapping[str, Spread]
    found: Sequence[Found]
    example: Example

    def kind(self, name: str) -> Kind | None:
        """The type or topic of that name, or None where nobody asked."""
        return next((kind for kind in self.kinds if kind.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Plain values; `load` is its inverse."""
        return asdict(self)


def load(path: Path = PATH) -> Record:
    """Reads a record.

    Raises:
        UserError: no such file, or no such record; the message names the command that makes it.
    """
    value = read_json(path, "the recorded routing")
    try:
        record = _record(value)
        _check(record)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path} is no record of routing ({error}); make it again: {COMMAND}") from error
    return record


def write_record(path: Path, record: Record) -> None:
    """Writes a record, a line a field: numbers one a line would be thousands of lines."""
    lines = [f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in record.to_json().items()]
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


COMMAND = "python -m docs.figures --run runs/demo"


def _record(value: dict[str, Any]) -> Record:
    kinds = [
        Kind(**{**kind, "looks": {name: Look(**look) for name, look in kind["looks"].items()}})
        for kind in value["kinds"]
    ]
    spreads = {name: Spread(**spread) for name, spread in value["spreads"].items()}
    example = value["example"]
    asked = [
        Asked(**{**one, "looks": {name: Gaussians(**look) for name, look in one["looks"].items()}})
        for one in example["asked"]
    ]
    players = [(name, [(start, stop) for start, stop in segments]) for name, segments in example["players"]]
    return Record(
        **{
            **value,
            "kinds": kinds,
            "spreads": spreads,
            "found": [Found(**found) for found in value["found"]],
            "example": Example(**{**example, "asked": asked, "players": players}),
        }
    )


def _check(record: Record) -> None:
    """Raises ValueError where numbers cannot be what they are called."""
    if sum(kind.count for kind in record.kinds if not kind.is_topic) != record.questions:
        raise ValueError(f"the types' counts do not sum to the {record.questions} questions")
    for kind in record.kinds:
        for name in MIXTURES:
            look, place = kind.looks[name], f"{kind.name}, {name}"
            if len(look.timeline) != POINTS or not all(0 <= weight <= 1 + 1e-6 for weight in look.timeline):
                raise ValueError(f"{place}: timeline wants {POINTS} numbers in [0, 1]")
            if len(look.gates) != record.experts or abs(sum(look.gates) - 1) > 1e-3:
                raise ValueError(f"{place}: gates want {record.experts} numbers that sum to 1")
    for name in MIXTURES:
        centers = record.spreads[name].centers
        if [len(row) for row in centers] != [BINS] * record.experts or abs(sum(map(sum, centers)) - 1) > 1e-3:
            raise ValueError(f"{name}: centers want {record.experts} rows of {BINS} numbers that all sum to 1")
    if not record.example.asked:
        raise ValueError("the example concert is asked nothing")
