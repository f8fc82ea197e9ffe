"""Which questions a scene answers clearly, order aside: (template values, answer) for each kind of question.

Loudness and speed are compared where they differ, lengths where they are three seconds apart; a name or a side
is used where it means one player.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import permutations

from examples.avqa.concert import facts
from examples.avqa.concert.order import Found
from examples.avqa.concert.scene import INSTRUMENTS, Player, Scene

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
# How much longer, in seconds, one player must sound than another to be said to play longer.
CLEARLY_LONGER = 3.0


def count(number: Callable[[Scene], int]) -> Callable[[Scene], Found]:
    """Counts something of the whole scene."""

    def find(scene: Scene) -> Found:
        yield (), NUMBERS[number(scene)]

    return find


def count_told(number: Callable[[Scene], int]) -> Callable[[Scene], Found]:
    """Counts players by their sound; not where two sound alike, which the sound does not tell apart."""

    def find(scene: Scene) -> Found:
        single = facts.single(scene)
        if all(player in single for player in facts.heard(scene)):
            yield (), NUMBERS[number(scene)]

    return find


def count_each(players: Callable[[Scene], list[Player]]) -> Callable[[Scene], Found]:
    """Counts the players of each instrument; of none, instruments that the scene has after all come first."""

    def find(scene: Scene) -> Found:
        names = [player.instrument for player in players(scene)]
        for name in _present_and_missing(scene, set(names)):
            yield (name,), NUMBERS[names.count(name)]

    return find


def _present_and_missing(scene: Scene, present: Collection[str]) -> list[str]:
    """`present`, then missing instruments: those that only the other sense perceives if any, else all."""
    tempting = facts.kinds(scene.players) - set(present)
    missing = tempting or set(INSTRUMENTS) - set(present)
    return sorted(present) + sorted(missing)


def exists(players: Callable[[Scene], list[Player]]) -> Callable[[Scene], Found]:
    """Whether one of `players` has the named instrument."""

    def find(scene: Scene) -> Found:
        present = facts.kinds(players(scene))
        for name in _present_and_missing(scene, present):
            yield (name,), "yes" if name in present else "no"

    return find


def both_exist(players: Callable[[Scene], list[Player]]) -> Callable[[Scene], Found]:
    """Pairs of instruments, of which at least one is there."""

    def find(scene: Scene) -> Found:
        present = facts.kinds(players(scene))
        for pair in permutations(INSTRUMENTS, 2):
            if present & set(pair):
                yield pair, "yes" if present >= set(pair) else "no"

    return find


def louder(a: Player, b: Player) -> str | None:
    """Whether `a` is louder; None where both are equal."""
    return None if a.loud == b.loud else "yes" if a.loud else "no"


def faster(a: Player, b: Player) -> str | None:
    """Whether `a` plays faster; None where both are equal."""
    return None if a.fast == b.fast else "yes" if a.fast else "no"


def longer(a: Player, b: Player) -> str | None:
    """Whether `a` sounds longer altogether; None where that is too close."""
    difference = a.sounding - b.sounding
    return None if abs(difference) < CLEARLY_LONGER else "yes" if difference > 0 else "no"


Comparison = Callable[[Player, Player], str | None]


def compare_names(comparison: Comparison) -> Callable[[Scene], Found]:
    """Compares two players that are heard, by name."""

    def find(scene: Scene) -> Found:
        for a, b in permutations([player for player in facts.single(scene) if player.heard], 2):
            if answer := comparison(a, b):
                yield (a.instrument, b.instrument), answer

    return find


def compare_sides(comparison: Comparison) -> Callable[[Scene], Found]:
    """Compares two players that are heard, by side; not where another one looks alike."""

    def find(scene: Scene) -> Found:
        single = facts.single(scene)
        for (side_a, a), (side_b, b) in permutations(facts.by_side(scene).items(), 2):
            told = a in single and b in single
            if a.heard and b.heard and told and (answer := comparison(a, b)):
                yield (side_a, side_b), answer

    return find


def compare_names_and_sides(comparison: Comparison) -> Callable[[Scene], Found]:
    """Compares two players that are heard and on a side, by side and name."""

    def find(scene: Scene) -> Found:
        players = [player for player in facts.single(scene) if player.heard]
        for a, b in permutations(players, 2):
            side_a, side_b = facts.side(scene, a), facts.side(scene, b)
            if side_a and side_b and (answer := comparison(a, b)):
                yield (side_a, a.instrument, side_b, b.instrument), answer

    return find


def place(scene: Scene) -> Found:
    """Indoors or outdoors."""
    yield (), scene.place


def alone(scene: Scene) -> Found:
    """The only instrument in the picture."""
    row = facts.seen(scene)
    if len(row) == 1:
        yield (), row[0].instrument


def outermost(scene: Scene) -> Found:
    """The instruments at both ends of the row."""
    row = facts.seen(scene)
    if len(row) >= 2:
        yield ("leftmost",), row[0].instrument
        yield ("rightmost",), row[-1].instrument


def beside(scene: Scene) -> Found:
    """The instruments next to each named one."""
    for player in facts.single(scene):
        for direction in ("left", "right") if player.seen else ():
            if beside := facts.neighbour(scene, player, direction):
                yield (direction, player.instrument), beside.instrument


def voiceover(scene: Scene) -> Found:
    """Whether there is a voice-over."""
    yield (), "yes" if scene.voiceover else "no"


def always(scene: Scene) -> Found:
    """Whether a named player plays throughout; of those that are seen and heard."""
    for player in facts.single(scene):
        if player.seen and player.heard:
            yield (player.instrument,), "yes" if facts.plays_always(scene, player) else "no"


def source_seen(scene: Scene) -> Found:
    """Whether an instrument that is heard is seen."""
    for name in sorted(facts.kinds(facts.heard(scene))):
        yield (name,), "yes" if name in facts.kinds(facts.seen(scene)) else "no"


def all_sources_seen(scene: Scene) -> Found:
    """Whether all that is heard is seen."""
    yield (), "yes" if all(player.seen for player in facts.heard(scene)) else "no"


def ever_sounds(scene: Scene) -> Found:
    """Whether a named player in the picture is heard."""
    for player in facts.single(scene):
        if player.seen:
            yield (player.instrument,), "yes" if player.heard else "no"


def loudest(scene: Scene) -> Found:
    """Where one player is loud and all others soft, or the reverse; not where another sounds alike."""
    players, single = facts.heard(scene), facts.single(scene)
    for word, loud in (("loudest", True), ("softest", False)):
        such = [player for player in players if player.loud == loud]
        if len(such) != 1 or len(players) < 2 or such[0] not in single:
            continue
        if side := facts.side(scene, such[0]):
            yield (word,), side


def sounding(scene: Scene) -> list[Player]:
    """Players both seen and heard."""
    return [player for player in facts.seen(scene) if player.heard]
