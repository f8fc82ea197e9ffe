"""Whether timelines know of their clip: do they lie where the player that was asked for sounds?

T frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from examples.avqa.concert.facts import heard
from examples.avqa.concert.scene import Player, Scene

from .record import MIXTURES, Found
from .watched import Array, Watched

TOPICS = ("first instrument", "second instrument", "last instrument")
"""Questions whose answer names the player, the only one of its instrument that is heard."""


def found(watched: Sequence[Watched], scenes: Mapping[str, Scene]) -> list[Found]:
    """One row a topic; none without scenes, or where a topic is asked less than twice."""
    rows = []
    for topic in TOPICS:
        pairs = [
            (one, player)
            for one in watched
            if one.question.topic == topic and (player := _answer(one, scenes)) is not None
        ]
        if len(pairs) > 1:
            rows.append(_row(topic, pairs, scenes))
    return rows


def sounding(player: Player, duration: float, frames: int) -> Array:
    """Which part of each frame's share of the clip a player sounds in, [T]."""
    edges = np.linspace(0, duration, frames + 1)
    inside = np.zeros(frames)
    for start, stop in player.segments:
        inside += np.clip(np.minimum(edges[1:], stop) - np.maximum(edges[:-1], start), 0, None)
    return inside / (duration / frames)


def _answer(one: Watched, scenes: Mapping[str, Scene]) -> Player | None:
    """The player that the right answer names."""
    scene = scenes.get(one.question.video_id)
    players = [player for player in heard(scene) if player.instrument == one.question.answer] if scene else []
    return players[0] if len(players) == 1 else None


def _row(topic: str, pairs: Sequence[tuple[Watched, Player]], scenes: Mapping[str, Scene]) -> Found:
    truths = []
    for one, player in pairs:
        frames = len(one.views[MIXTURES[0]].timeline)
        truths.append(sounding(player, scenes[one.question.video_id].duration, frames))
    own, others = {}, {}
    for name in MIXTURES:
        shares = [_shares(one, name) for one, _ in pairs]
        own[name] = np.array([share @ truth for share, truth in zip(shares, truths, strict=True)])
        others[name] = np.array([_of_others(shares, place) @ truth for place, truth in enumerate(truths)])
    return Found(
        topic,
        len(pairs),
        _mean([truth.mean() for truth in truths]),
        {name: _mean(values) for name, values in own.items()},
        {name: _mean(values) for name, values in others.items()},
        {name: round(float((own[name] - others[name]).std(ddof=1) / len(pairs) ** 0.5), 4) for name in MIXTURES},
    )


def _of_others(shares: Sequence[Array], place: int) -> Array:
    """The mean of all shares but the one there, over clips of as many frames; alone of its length, uniform."""
    alike = [other for n, other in enumerate(shares) if n != place and len(other) == len(shares[place])]
    frames = len(shares[place])
    return np.mean(alike, axis=0) if alike else np.full(frames, 1 / frames)


def _shares(one: Watched, mixture: str) -> Array:
    timeline = one.views[mixture].timeline
    return timeline / max(float(timeline.sum()), 1e-12)


def _mean(values: Sequence[float] | Array) -> float:
    return round(float(np.mean(values)), 4)
