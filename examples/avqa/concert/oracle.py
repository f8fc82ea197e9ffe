"""What someone would score who knows all about a scene except the order in which its players start.

This oracle sees and hears everything else without error: who is where, who sounds and for how long, how loud
and how fast. What a model scores above it on questions about order, it owes to the order.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from examples.avqa.concert.order import TOGETHER, OrderKind, Values
from examples.avqa.concert.scene import Player, Scene
from examples.avqa.concert.wording import TEMPLATES

Record = Mapping[str, Any]

# A rule guesses the contenders of the greatest value, each of several equally often.
RULES: dict[str, Callable[[Player], float]] = {
    "random": lambda player: 0.0,
    "longest": lambda player: player.sounding,
    "shortest": lambda player: -player.sounding,
    "loudest": lambda player: float(player.loud),
    "leftmost": lambda player: -1.0 if player.seat is None else 1.0 - player.seat,
}
# Rules that look at no player: always the same answer.
FIXED = (TOGETHER, "yes", "no")


def fit_order_blind(scenes: Sequence[Scene], records: Sequence[Record]) -> dict[str, str]:
    """The best rule for each topic about order, chosen on these (training) scenes."""
    by_id = {scene.video_id: scene for scene in scenes}
    topics: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        if _order_kind(record):
            topics[record["topic"]].append(record)
    return {
        topic: max((*RULES, *FIXED), key=lambda rule: sum(_score(rule, by_id[r["video_id"]], r) for r in asked))
        for topic, asked in topics.items()
    }


def order_blind_accuracy(scenes: Sequence[Scene], records: Sequence[Record], rules: Mapping[str, str]) -> list[float]:
    """Expected score in [0, 1] of each question, in the order of `records`; 1 for those not about order.

    Args:
        rules: from `fit_order_blind`; topics that it did not meet are answered at random.
    """
    by_id = {scene.video_id: scene for scene in scenes}
    return [_score(rules.get(record["topic"], "random"), by_id[record["video_id"]], record) for record in records]


def _order_kind(record: Record) -> OrderKind | None:
    return ORDER_KINDS[record["question_content"]]


def _score(rule: str, scene: Scene, record: Record) -> float:
    kind = _order_kind(record)
    if kind is None:
        return 1.0
    if rule in FIXED:
        return float(record["anser"] == rule)
    values: Values = tuple(json.loads(record["templ_values"]))
    contenders = kind.contenders(scene, values)
    worth = [RULES[rule](player) for player in contenders]
    guesses = [player for player, value in zip(contenders, worth, strict=True) if value == max(worth)]
    answer = str(record["anser"])
    right = [kind.reply(scene, values, player) == answer for player in guesses]
    return sum(right) / len(guesses)


ORDER_KINDS = {template.text: template.order for template in TEMPLATES}
