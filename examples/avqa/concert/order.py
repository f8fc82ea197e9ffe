"""Questions about which player starts first, last, before or after another, or plays at the same time.

Each kind of question names its contenders: the players among whom someone must choose who knows all about the
scene but its order. The writer of questions and the order-blind oracle share them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise, permutations, product

from examples.avqa.concert import facts
from examples.avqa.concert.scene import Player, Scene

Values = tuple[str, ...]
Found = Iterator[tuple[Values, str]]

TOGETHER = "simultaneously"
# Onsets further apart than the first are in a clear order; closer than the second they are heard as one.
CLEAR_GAP = 3.0
NO_GAP = 0.25
# Playing at the same time: at least this long together; and the others at least this far away.
LEAST_OVERLAP = 2.0
CLEAR_DISTANCE = 0.5


def entering(scene: Scene) -> list[Player]:
    """Players that come in, by onset: all that are heard except one that plays from beginning to end."""
    players = [player for player in facts.heard(scene) if not facts.plays_always(scene, player)]
    return sorted(players, key=lambda player: player.onset)


def all_together(scene: Scene) -> bool:
    """Whether all players that come in start as one."""
    players = entering(scene)
    return len(players) >= 2 and players[-1].onset - players[0].onset <= NO_GAP


def in_clear_order(players: list[Player]) -> bool:
    """Whether players sorted by onset start far enough apart."""
    return all(b.onset - a.onset >= CLEAR_GAP for a, b in pairwise(players))


@dataclass(frozen=True)
class OrderKind:
    """One kind of question whose answer names, or follows from, one of several contenders."""

    values: Callable[[Scene], Iterable[Values]]
    """The template values that could be asked about."""
    contenders: Callable[[Scene, Values], list[Player]]
    """The players that it could be, the order being unknown; empty where the question makes no sense."""
    chosen: Callable[[Scene, Values], Player | None]
    """The player that it is; None where that is not clear."""
    reply: Callable[[Scene, Values, Player], str]
    """The answer, if it is this player."""
    may_tie: bool = False
    """Whether `simultaneously` is an answer."""
    certain: bool = False
    """Whether to ask even where the contenders leave no choice."""

    def find(self, scene: Scene) -> Found:
        """Template values and answers of all questions of this kind that the scene allows."""
        for values in self.values(scene):
            contenders = self.contenders(scene, values)
            replies = {self.reply(scene, values, player) for player in contenders}
            if not replies or (len(replies) == 1 and not self.certain):
                continue
            if self.may_tie and all_together(scene):
                yield values, TOGETHER
                continue
            player = self.chosen(scene, values)
            if player in contenders and player is not None:
                yield values, self.reply(scene, values, player)


def _rank(scene: Scene, word: str) -> Player | None:
    """The first, second or last to come in.

    Where someone plays from the very beginning, no other is clearly the first or the second.
    """
    players = entering(scene)
    if len(players) < 2 or not in_clear_order(players):
        return None
    if word == "last":
        return players[-1]
    if len(players) < len(facts.heard(scene)) or (word == "second" and len(players) < 3):
        return None
    return players[0 if word == "first" else 1]


def _named(scene: Scene) -> list[Player]:
    """The players that come in, where each is the only one heard of its instrument; else none."""
    heard = facts.heard(scene)
    return entering(scene) if len(facts.kinds(heard)) == len(heard) else []


def _placed(scene: Scene) -> list[Player]:
    """Those with a side of their own. Of two alike in the picture the sound does not tell which one plays."""
    single = facts.single(scene)
    return [player for player in _named(scene) if player in single and facts.side(scene, player)]


def _instrument(scene: Scene, values: Values, player: Player) -> str:
    return player.instrument


def _side(scene: Scene, values: Values, player: Player) -> str:
    return facts.side(scene, player) or ""


COMES_IN = OrderKind(
    values=lambda scene: [("first",), ("last",)],
    contenders=lambda scene, values: _named(scene),
    chosen=lambda scene, values: _rank(scene, values[0]),
    reply=_instrument,
)
SECOND = OrderKind(
    values=lambda scene: [()],
    contenders=lambda scene, values: _named(scene) if len(_named(scene)) >= 3 else [],
    chosen=lambda scene, values: _rank(scene, "second"),
    reply=_instrument,
)
WHERE_STARTS = OrderKind(
    values=lambda scene: [("first",), ("last",)],
    contenders=lambda scene, values: _placed(scene),
    chosen=lambda scene, values: _rank(scene, values[0]),
    reply=_side,
)


def _placed_with_side(scene: Scene, values: Values) -> list[Player]:
    """None where the player on the side in question never comes in: that would give the answer away."""
    placed = _placed(scene)
    return placed if facts.by_side(scene)[values[0]] in placed else []


FROM_SIDE = OrderKind(
    values=lambda scene: product(facts.by_side(scene), ("first", "last")),
    contenders=_placed_with_side,
    chosen=lambda scene, values: _rank(scene, values[1]),
    reply=lambda scene, values, player: "yes" if facts.side(scene, player) == values[0] else "no",
)


def _with_neighbour(scene: Scene, values: Values) -> list[Player]:
    return [player for player in _placed(scene) if facts.neighbour(scene, player, values[0])]


def _neighbour_name(scene: Scene, values: Values, player: Player) -> str:
    beside = facts.neighbour(scene, player, values[0])
    return beside.instrument if beside else ""


BESIDE = OrderKind(
    values=lambda scene: product(("left", "right"), ("first", "last")),
    contenders=_with_neighbour,
    chosen=lambda scene, values: _rank(scene, values[1]),
    reply=_neighbour_name,
)


def _pair(scene: Scene, values: Values) -> list[Player]:
    return [player for player in entering(scene) if player.instrument in values]


def _earlier(scene: Scene, values: Values) -> Player | None:
    pair = _pair(scene, values)
    return pair[0] if in_clear_order(pair) else None


OF_TWO = OrderKind(
    values=lambda scene: permutations(
        sorted(player.instrument for player in facts.single(scene) if player in entering(scene)), 2
    ),
    contenders=_pair,
    chosen=_earlier,
    reply=_instrument,
    may_tie=True,
)


def _others(scene: Scene, values: Values) -> list[Player]:
    players = _named(scene)
    return [player for player in players if player.instrument != values[1]] if len(players) >= 3 else []


def _next(scene: Scene, values: Values) -> Player | None:
    players = entering(scene)
    if not in_clear_order(players):
        return None
    step = 1 if values[0] == "after" else -1
    place = [player.instrument for player in players].index(values[1]) + step
    return players[place] if 0 <= place < len(players) else None


BEFORE_AFTER = OrderKind(
    values=lambda scene: product(
        ("before", "after"),
        sorted(player.instrument for player in facts.single(scene) if player in entering(scene)),
    ),
    contenders=_others,
    chosen=_next,
    reply=_instrument,
)


def _possible_companions(scene: Scene, values: Values) -> list[Player]:
    """Whoever plays always plays along with everybody, so that it can be nobody else."""
    heard = facts.heard(scene)
    if len(facts.kinds(heard)) < len(heard):
        return []
    others = [player for player in heard if player.instrument != values[0]]
    return [player for player in others if facts.plays_always(scene, player)] or others


def _companion(scene: Scene, values: Values) -> Player | None:
    """The one player that plays along with the named one, all others keeping clear of it."""
    heard = facts.heard(scene)
    (named,) = (player for player in heard if player.instrument == values[0])
    near = [player for player in heard if player != named and facts.overlap(named, player, CLEAR_DISTANCE) > 0]
    return near[0] if len(near) == 1 and facts.overlap(named, near[0]) >= LEAST_OVERLAP else None


SAME_TIME = OrderKind(
    values=lambda scene: [(player.instrument,) for player in facts.single(scene) if player.heard],
    contenders=_possible_companions,
    chosen=_companion,
    reply=_instrument,
    certain=True,
)
