"""What can be said of a scene without regard to the order in which its players start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from examples.avqa.concert.scene import Player, Scene


def seen(scene: Scene) -> list[Player]:
    """Players in the picture, from left to right."""
    return [player for player in scene.players if player.seen]


def heard(scene: Scene) -> list[Player]:
    """Players that sound at some time, seen or not."""
    return [player for player in scene.players if player.heard]


def kinds(players: Iterable[Player]) -> set[str]:
    """The instruments among `players`."""
    return {player.instrument for player in players}


def single(scene: Scene) -> list[Player]:
    """Players whose instrument no one else in the scene has, so that its name means one player."""
    count = Counter(player.instrument for player in scene.players)
    return [player for player in scene.players if count[player.instrument] == 1]


def plays_always(scene: Scene, player: Player) -> bool:
    """Whether it sounds from beginning to end without a pause."""
    return player.segments == ((0.0, scene.duration),)


def side(scene: Scene, player: Player) -> str | None:
    """Where it is: `left`, `middle` or `right`; None where it is not seen or is alone in the picture.

    Of four players two are on the left and two on the right; only of three is one in the middle.
    """
    row = seen(scene)
    if len(row) < 2 or not player.seen:
        return None
    rank = row.index(player)
    if 2 * rank + 1 == len(row):
        return "middle"
    return "left" if 2 * rank + 1 < len(row) else "right"


def by_side(scene: Scene) -> dict[str, Player]:
    """Whom `the left instrument` (middle, right) means; empty where one is alone or two are on each side."""
    row = seen(scene)
    names = {2: ("left", "right"), 3: ("left", "middle", "right")}.get(len(row), ())
    return dict(zip(names, row, strict=False))


def neighbour(scene: Scene, player: Player, direction: str) -> Player | None:
    """The player directly to the `left` or `right` of one that is seen."""
    row = seen(scene)
    rank = row.index(player) + (-1 if direction == "left" else 1)
    return row[rank] if 0 <= rank < len(row) else None


def overlap(a: Player, b: Player, margin: float = 0.0) -> float:
    """Seconds in which both sound, `a` taken to start earlier and stop later by `margin`."""
    return sum(
        max(0.0, min(stop_a + margin, stop_b) - max(start_a - margin, start_b))
        for start_a, stop_a in a.segments
        for start_b, stop_b in b.segments
    )
