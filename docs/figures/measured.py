"""From what a model did question by question to the record: means by kind of question, and nothing of single clips.

The exception is the example concert, which is chosen by a rule that looks at the questions alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from examples.avqa.annotations import QUESTION_TYPES, read_json
from examples.avqa.concert.facts import heard
from examples.avqa.concert.scene import Scene
from examples.avqa.provenance import provenance

from .found import found
from .record import BINS, MIXTURES, POINTS, Asked, Example, Gaussians, Kind, Look, Record, Spread
from .watched import Array, Session, View, Watched

WANTED = ("first instrument", "last instrument")
"""Topics that the example concert is asked about, where the data has them."""
SHOWN = 4
"""Questions of the example."""


def measured(session: Session) -> Record:
    """The record of a session."""
    watched, scenes = session.watched, scenes_beside(session)
    return Record(
        provenance=provenance(),
        clips=len({one.question.video_id for one in watched}),
        questions=len(watched),
        frames=max(len(view.timeline) for one in watched for view in one.views.values()),
        experts=session.experts,
        accuracy=_mean(one.is_right for one in watched),
        text_only=session.text_only,
        kinds=_kinds(watched, session.experts),
        spreads={name: _spread(watched, name, session.experts) for name in MIXTURES},
        found=found(watched, scenes),
        example=_example(watched, scenes),
    )


def scenes_beside(session: Session) -> dict[str, Scene]:
    """The scenes from which concerts were rendered, by video, where they lie beside the annotations."""
    path = session.annotations.with_name("scenes.json")
    if not path.exists():
        return {}
    scenes = [Scene.from_json(record) for record in read_json(path, "the scenes")]
    return {scene.video_id: scene for scene in scenes}


def on_grid(timeline: Array) -> Array:
    """A timeline [T] at POINTS places of the clip's own time, straight between frames."""
    return np.interp(np.linspace(0, 1, POINTS), np.linspace(0, 1, len(timeline)), timeline)


def by_expert(view: View, values: Array, experts: int) -> Array:
    """[K] to [E], 0 for experts that are not in use."""
    spread = np.zeros(experts)
    spread[view.indices] = values
    return spread


def _kinds(watched: Sequence[Watched], experts: int) -> list[Kind]:
    types = [
        (name, False, [one for one in watched if one.question.short_type == name]) for name in QUESTION_TYPES.values()
    ]
    names = sorted({one.question.topic for one in watched} - {""})
    topics = [(name, True, [one for one in watched if one.question.topic == name]) for name in names]
    return [
        Kind(
            name,
            is_topic,
            len(part),
            _mean(one.is_right for one in part),
            {m: _look(part, m, experts) for m in MIXTURES},
        )
        for name, is_topic, part in (*types, *topics)
        if part
    ]


def _look(watched: Sequence[Watched], mixture: str, experts: int) -> Look:
    views = [one.views[mixture] for one in watched]
    return Look(
        _rounded(np.mean([on_grid(view.timeline) for view in views], axis=0)),
        _rounded(np.mean([by_expert(view, view.gates, experts) for view in views], axis=0)),
        round(_mean(float(-(view.gates * np.log(np.maximum(view.gates, 1e-30))).sum()) for view in views), 4),
    )


def _spread(watched: Sequence[Watched], mixture: str, experts: int) -> Spread:
    views = [one.views[mixture] for one in watched]
    centers = np.zeros((experts, BINS))
    for view in views:
        bins = np.minimum((view.centers * BINS).astype(int), BINS - 1)
        np.add.at(centers, (view.indices, bins), view.gates / len(views))
    stds, gates = (np.concatenate([getattr(view, name) for view in views]) for name in ("stds", "gates"))
    order = np.argsort(stds)
    reached = np.cumsum(gates[order]) / gates.sum()
    percentiles = stds[order][np.searchsorted(reached, (0.1, 0.5, 0.9)).clip(max=len(order) - 1)]
    return Spread([_rounded(row, 6) for row in centers], _rounded(percentiles), round(_within(watched, mixture), 4))


def _within(watched: Sequence[Watched], mixture: str) -> float:
    """Part of the variance of the timelines' mean times that is left within kinds."""
    kinds = [one.question.topic or one.question.short_type for one in watched]
    times = np.array([mean_time(one.views[mixture].timeline) for one in watched])
    rest = times.copy()
    for kind in set(kinds):
        chosen = np.array([each == kind for each in kinds])
        rest[chosen] -= times[chosen].mean()
    return float(rest.var() / max(times.var(), 1e-12))


def mean_time(timeline: Array) -> float:
    """The mean of the clip's own time under a timeline [T]."""
    return float(np.average(np.linspace(0, 1, len(timeline)), weights=timeline + 1e-12))


def _example(watched: Sequence[Watched], scenes: Mapping[str, Scene]) -> Example:
    """The first concert by name that is asked all of WANTED: those questions, then others in the file's order."""
    topics = [topic for topic in WANTED if any(one.question.topic == topic for one in watched)]
    clips: dict[str, list[Watched]] = {}
    for one in watched:
        clips.setdefault(one.question.video_id, []).append(one)
    asked_of = {video: {one.question.topic for one in part} for video, part in clips.items()}
    video = next((v for v in sorted(clips) if asked_of[v].issuperset(topics)), min(clips))
    part = clips[video]
    first = [next(one for one in part if one.question.topic == topic) for topic in topics if topic in asked_of[video]]
    shown = (first + [one for one in part if one not in first])[:SHOWN]
    scene = scenes.get(video)
    players = sorted(heard(scene), key=lambda player: player.onset) if scene else []
    return Example(
        video,
        scene.duration if scene else 1.0,
        [(player.instrument, player.segments) for player in players],
        [_asked(one) for one in shown],
    )


def _asked(one: Watched) -> Asked:
    looks = {
        name: Gaussians(view.indices.tolist(), *(_rounded(part) for part in (view.gates, view.centers, view.stds)))
        for name, view in one.views.items()
    }
    question = one.question
    return Asked(question.text, question.answer, one.predicted, round(one.probability, 4), looks)


def _rounded(values: Array, digits: int = 4) -> list[float]:
    return [round(float(value), digits) for value in values]


def _mean(values: Iterable[float]) -> float:
    return float(np.mean([float(value) for value in values]))
