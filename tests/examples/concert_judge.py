"""Answers questions about a concert from scratch: each player becomes a row of samples, ten milliseconds apart.

It shares no code with the question writer, so that both would have to be wrong in the same way to agree wrongly.
An answer is None where the question would not be clear.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from examples.avqa.concert.scene import Player, Scene

STEP = 0.01
WORDS = ("zero", "one", "two", "three", "four", "five")


class Judge:
    """All there is to know about one scene, on a grid of times."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.times = np.arange(0, scene.duration, STEP) + STEP / 2
        self.rows = [self._samples(player) for player in scene.players]
        self.names = [player.instrument for player in scene.players]
        self.on = [bool(row.any()) for row in self.rows]
        self.always = [bool(row.all()) for row in self.rows]
        self.onset = [float(self.times[row.argmax()]) if row.any() else np.inf for row in self.rows]
        self.seen = [i for i, player in enumerate(scene.players) if player.seat is not None]
        self.seen.sort(key=lambda i: scene.players[i].seat or 0)
        self.coming = sorted(
            (i for i in range(len(self.rows)) if self.on[i] and not self.always[i]), key=self.onset.__getitem__
        )
        gaps = np.diff([self.onset[i] for i in self.coming])
        self.clear = len(self.coming) >= 2 and bool((gaps > 3 - 2 * STEP).all())
        self.together = len(self.coming) >= 2 and float(gaps.sum()) < 0.3

    def _samples(self, player: Player) -> npt.NDArray[np.bool_]:
        row = np.zeros(len(self.times), dtype=bool)
        for start, stop in player.segments:
            row |= (self.times >= start) & (self.times < stop)
        return row

    def who(self, name: str) -> int | None:
        """The only player of an instrument."""
        return self.names.index(name) if self.names.count(name) == 1 else None

    def sides(self) -> list[str]:
        """Side of each seen player."""
        return {
            1: [""],
            2: ["left", "right"],
            3: ["left", "middle", "right"],
            4: ["left", "left", "right", "right"],
        }[len(self.seen)]

    def side(self, i: int) -> str | None:
        return self.sides()[self.seen.index(i)] or None if i in self.seen else None

    def at(self, side: str) -> int | None:
        """The only player on a side."""
        return self.seen[self.sides().index(side)] if self.sides().count(side) == 1 else None

    def unmistakable(self, i: int | None) -> int | None:
        """The player, if no other has its instrument."""
        return None if i is None else self.who(self.names[i])

    def next_to(self, i: int, direction: str) -> str | None:
        place = self.seen.index(i) + {"left": -1, "right": 1}[direction]
        return self.names[self.seen[place]] if 0 <= place < len(self.seen) else None

    def ranked(self, word: str) -> int | None:
        """First, second or last to come in; the first two only where nobody plays from the beginning on."""
        if not self.clear or (word != "last" and any(self.always)):
            return None
        place = {"first": 0, "second": 1, "last": -1}[word]
        return None if word == "second" and len(self.coming) < 3 else self.coming[place]

    def heard_kinds_differ(self) -> bool:
        heard = [name for name, on in zip(self.names, self.on, strict=True) if on]
        return len(heard) == len(set(heard))

    def compare(self, a: int | None, b: int | None, trait: str) -> str | None:
        """Whether `a` surpasses `b`; of two that are heard."""
        if a is None or b is None or not (self.on[a] and self.on[b]) or self.names[a] == self.names[b]:
            return None
        if trait == "longer":
            difference = float(self.rows[a].sum() - self.rows[b].sum()) * STEP
            if abs(difference) < 3 - 4 * STEP:
                return None
        else:
            difference = getattr(self.scene.players[a], trait) - getattr(self.scene.players[b], trait)
        return None if difference == 0 else yes(difference > 0)


def yes(value: bool) -> str:
    return "yes" if value else "no"


Rule = Callable[..., str | None]


def compare_names(trait: str) -> Rule:
    return lambda j, a, b: j.compare(j.who(a), j.who(b), trait)


def compare_sides(trait: str) -> Rule:
    return lambda j, a, b: j.compare(j.unmistakable(j.at(a)), j.unmistakable(j.at(b)), trait)


def compare_both(trait: str) -> Rule:
    def rule(j: Judge, side_a: str, a: str, side_b: str, b: str) -> str | None:
        one, other = j.who(a), j.who(b)
        if one is None or other is None or (j.side(one), j.side(other)) != (side_a, side_b):
            return None
        return j.compare(one, other, trait)

    return rule


def loudest(j: Judge, word: str) -> str | None:
    group = [i for i in range(len(j.on)) if j.on[i] and j.scene.players[i].loud == (word == "loudest")]
    if len(group) != 1 or sum(j.on) < 2 or j.who(j.names[group[0]]) is None:
        return None
    return j.side(group[0])


def meanwhile(j: Judge, name: str) -> str | None:
    i = j.who(name)
    if i is None or not j.heard_kinds_differ():
        return None
    both = {k: float((j.rows[i] & j.rows[k]).sum()) * STEP for k in range(len(j.on)) if k != i}
    partners = [k for k, seconds in both.items() if seconds > 0]
    return j.names[partners[0]] if len(partners) == 1 and both[partners[0]] > 2 - 2 * STEP else None


def side_starts(j: Judge, side: str, word: str) -> str | None:
    starter, asked = j.unmistakable(j.ranked(word)), j.unmistakable(j.at(side))
    if starter is None or asked is None or j.side(starter) is None or asked not in j.coming:
        return None
    return yes(starter == asked)


def beside_starter(j: Judge, direction: str, word: str) -> str | None:
    starter = j.unmistakable(j.ranked(word))
    return None if starter not in j.seen or starter is None else j.next_to(starter, direction)


def comes_in(j: Judge, word: str = "second") -> str | None:
    starter = j.ranked(word)
    return None if starter is None or not j.heard_kinds_differ() else j.names[starter]


def where_starts(j: Judge, word: str) -> str | None:
    starter = j.unmistakable(j.ranked(word))
    return None if starter is None else j.side(starter)


def of_two(j: Judge, a: str, b: str) -> str | None:
    one, other = j.who(a), j.who(b)
    if one is None or other is None or one not in j.coming or other not in j.coming:
        return None
    if j.together:
        return "simultaneously"
    return a if j.onset[one] < j.onset[other] else b


def before_after(j: Judge, word: str, name: str) -> str | None:
    i = j.who(name)
    if i not in j.coming or not j.clear or len(j.coming) < 3 or i is None or not j.heard_kinds_differ():
        return None
    place = j.coming.index(i) + (1 if word == "after" else -1)
    return j.names[j.coming[place]] if 0 <= place < len(j.coming) else None


def beside(j: Judge, direction: str, name: str) -> str | None:
    i = j.who(name)
    return None if i is None or i not in j.seen else j.next_to(i, direction)


def always(j: Judge, name: str) -> str | None:
    i = j.who(name)
    return None if i is None or i not in j.seen or not j.on[i] else yes(j.always[i])


def ever(j: Judge, name: str) -> str | None:
    i = j.who(name)
    return None if i is None or i not in j.seen else yes(j.on[i])


def heard(j: Judge) -> list[str]:
    return [name for name, on in zip(j.names, j.on, strict=True) if on]


def seen(j: Judge) -> list[str]:
    return [j.names[i] for i in j.seen]


def playing(j: Judge) -> list[str]:
    return [j.names[i] for i in j.seen if j.on[i]]


def told_apart(j: Judge, number: int) -> str | None:
    """A count by sound; None where two of one instrument are there of which one is heard."""
    doubtful = [name for name, on in zip(j.names, j.on, strict=True) if on and j.names.count(name) > 1]
    return None if doubtful else WORDS[number]


RULES: dict[str, Rule] = {
    "How many different instruments can be heard?": lambda j: WORDS[len(set(heard(j)))],
    "Can a <Object> be heard?": lambda j, a: yes(a in heard(j)),
    "Can both <Object> and <Object> be heard?": lambda j, a, b: yes({a, b} <= set(heard(j))),
    "Does the <Object> sound louder than the <Object>?": compare_names("loud"),
    "Does the <Object> play faster notes than the <Object>?": compare_names("fast"),
    "Does the <Object> play for longer than the <Object>?": compare_names("longer"),
    "How many instruments does the picture show?": lambda j: WORDS[len(seen(j))],
    "How many kinds of instrument does the picture show?": lambda j: WORDS[len(set(seen(j)))],
    "How many <Object> does the picture show?": lambda j, a: WORDS[seen(j).count(a)],
    "Does the picture show a <Object>?": lambda j, a: yes(a in seen(j)),
    "Does the picture show both <Object> and <Object>?": lambda j, a, b: yes({a, b} <= set(seen(j))),
    "Where does the concert take place?": lambda j: j.scene.place,
    "Which single instrument is in the picture?": lambda j: seen(j)[0] if len(j.seen) == 1 else None,
    "Which instrument is the <LRer> one?": lambda j, end: seen(j)[{"leftmost": 0, "rightmost": -1}[end]],
    "Which instrument stands directly to the <LR> of the <Object>?": beside,
    "Does a voice speak over the music?": lambda j: yes(j.scene.voiceover is not None),
    "Does the <Object> in the picture play from beginning to end?": always,
    "Is the <Object> that can be heard also in the picture?": lambda j, a: yes(a in seen(j)) if a in heard(j) else None,
    "Are all instruments that can be heard in the picture?": lambda j: yes(set(heard(j)) <= set(seen(j))),
    "Does the <Object> in the picture ever sound?": ever,
    "How many instruments in the picture can be heard?": lambda j: told_apart(j, len(playing(j))),
    "How many instruments in the picture stay silent?": lambda j: told_apart(j, len(seen(j)) - len(playing(j))),
    "How many kinds of instrument in the picture can be heard?": lambda j: WORDS[len(set(playing(j)))],
    "Where does the <LL> instrument stand?": loudest,
    "Which instrument plays while the <Object> plays?": meanwhile,
    "Does the <LR> instrument start <FL>?": side_starts,
    "Which instrument is directly to the <LR> of the <FL> one to start?": beside_starter,
    "Is the <LR> instrument louder than the <LR> one?": compare_sides("loud"),
    "Does the <LR> <Object> sound louder than the <LR> <Object>?": compare_both("loud"),
    "Does the <LR> instrument play faster notes than the <LR> one?": compare_sides("fast"),
    "Does the <LR> <Object> play faster notes than the <LR> <Object>?": compare_both("fast"),
    "Does the <LR> instrument play for longer than the <LR> one?": compare_sides("longer"),
    "Which instrument is the <FL> to come in?": comes_in,
    "Which instrument is the second to come in?": comes_in,
    "Where is the instrument that starts <FL>?": where_starts,
    "Which starts first, the <Object> or the <Object>?": of_two,
    "Which instrument comes in directly <BA> the <Object>?": before_after,
}


def answer(judge: Judge, template: str, values: tuple[Any, ...]) -> str | None:
    """The answer, or None where the question is not clear."""
    return RULES[template](judge, *values)
