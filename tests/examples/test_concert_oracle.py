"""The order-blind oracle: certain where order does not matter, a guesser among contenders where it does."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from examples.avqa.concert.annotate import annotate
from examples.avqa.concert.oracle import RULES, fit_order_blind, order_blind_accuracy
from examples.avqa.concert.sample import sample_scenes
from examples.avqa.concert.scene import INSTRUMENTS, Player, Scene
from examples.avqa.concert.settings import ConcertSettings
from examples.avqa.concert.wording import TEMPLATES

COMES_IN = "Which instrument is the <FL> to come in?"
OF_TWO = "Which starts first, the <Object> or the <Object>?"
SIDE = "Does the <LR> instrument start <FL>?"


def player(name: str, seat: float | None, onset: float, length: float, *, loud: bool = False) -> Player:
    return Player(name, seat, ((onset, onset + length),), loud, False, 0, 0, 0.4, 0.0, 0)


def scene(*players: Player, video_id: str = "a") -> Scene:
    return Scene(video_id, "train", 30.0, players, "indoor", None, 0)


TRIO = scene(player("piano", 0.2, 8, 5, loud=True), player("flute", 0.5, 1, 9), player("tuba", 0.8, 14, 7, loud=True))


def record(text: str, values: list[str], answer: str, topic: str, video_id: str = "a") -> dict[str, Any]:
    return {
        "video_id": video_id,
        "question_content": text,
        "templ_values": json.dumps(values),
        "anser": answer,
        "topic": topic,
    }


FIRST = record(COMES_IN, ["first"], "flute", "first instrument")


@pytest.mark.parametrize(
    ("rule", "score"),
    [("random", 1 / 3), ("longest", 1), ("shortest", 0), ("loudest", 0), ("leftmost", 0), ("yes", 0)],
)
def test_a_rule_guesses_among_the_instruments_that_come_in(rule: str, score: float) -> None:
    assert order_blind_accuracy([TRIO], [FIRST], {"first instrument": rule}) == [pytest.approx(score)]


def test_equal_guesses_share_the_score() -> None:
    last = record(COMES_IN, ["last"], "tuba", "last instrument")
    assert order_blind_accuracy([TRIO], [last], {"last instrument": "loudest"}) == [0.5]


def test_an_unknown_topic_is_answered_at_random() -> None:
    assert order_blind_accuracy([TRIO], [FIRST], {}) == [pytest.approx(1 / 3)]


def test_the_side_is_guessed_through_the_player() -> None:
    right = record(SIDE, ["middle", "first"], "yes", "first from a side")
    score = {rule: order_blind_accuracy([TRIO], [right], {right["topic"]: rule})[0] for rule in (*RULES, "yes", "no")}
    assert score["longest"] == score["yes"] == 1
    assert score["leftmost"] == score["no"] == 0
    assert score["random"] == pytest.approx(1 / 3)


def test_who_plays_always_or_never_is_no_contender() -> None:
    always = dataclasses.replace(player("drum", None, 0, 30), segments=((0.0, 30.0),))
    silent = dataclasses.replace(player("banjo", 0.9, 0, 1), segments=())
    full = scene(*TRIO.players, silent, always)
    last = record(COMES_IN, ["last"], "tuba", "last instrument")
    assert order_blind_accuracy([full], [last], {"last instrument": "random"}) == [pytest.approx(1 / 3)]


def test_questions_not_about_order_are_certain() -> None:
    records = [record(t.text, [], "yes", t.topic) for t in TEMPLATES if t.order is None]
    assert len(records) >= 25
    assert order_blind_accuracy([TRIO], records, {}) == [1.0] * len(records)


@pytest.mark.parametrize("rule", ["longest", "shortest", "leftmost"])
def test_fitting_finds_the_rule_that_holds(rule: str) -> None:
    scenes, records = [], []
    rng = np.random.default_rng(5)
    for index in range(40):
        onsets = rng.permutation([1.0, 8.0, 14.0])
        lengths = rng.permutation([5.0, 7.0, 9.0])
        players = [
            player(name, 0.2 + 0.3 * i, float(onsets[i]), float(lengths[i]), loud=bool(rng.random() < 0.5))
            for i, name in enumerate(("piano", "flute", "tuba"))
        ]
        chosen = max(players, key=RULES[rule])
        scenes.append(scene(*players, video_id=str(index)))
        records.append(record(COMES_IN, ["first"], chosen.instrument, "first instrument", str(index)))
    rules = fit_order_blind(scenes, records)
    assert rules == {"first instrument": rule}
    assert order_blind_accuracy(scenes, records, rules) == [1.0] * 40


def test_fitting_learns_how_often_two_start_together() -> None:
    asked = [record(OF_TWO, ["piano", "tuba"], "simultaneously", "first of two")] * 2
    asked += [record(OF_TWO, ["piano", "tuba"], "piano", "first of two")]
    rules = fit_order_blind([TRIO], asked)
    assert rules == {"first of two": "simultaneously"}
    assert order_blind_accuracy([TRIO], asked, rules) == [1, 1, 0]


SETTINGS = ConcertSettings(train=500, val=1, test=1)
SCENES = sample_scenes(SETTINGS, "train", programs_per_instrument=dict.fromkeys(INSTRUMENTS, 2), drawings=2)
RECORDS = annotate(SCENES, SETTINGS)


def with_onsets_exchanged(concert: Scene, rng: np.random.Generator) -> Scene:
    """The same players, as long and as loud, but starting in another order."""
    moving = [p for p in concert.players if p.heard and p.sounding < concert.duration]
    onsets = rng.permutation([p.onset for p in moving])
    shifts = {p: float(onset) - p.onset for p, onset in zip(moving, onsets, strict=True)}
    players = tuple(
        dataclasses.replace(p, segments=tuple((a + shifts.get(p, 0), b + shifts.get(p, 0)) for a, b in p.segments))
        for p in concert.players
    )
    return dataclasses.replace(concert, players=players)


def test_contenders_and_their_answers_do_not_depend_on_the_order() -> None:
    rng = np.random.default_rng(3)
    by_id = {s.video_id: s for s in SCENES}
    exchanged = {s.video_id: with_onsets_exchanged(s, rng) for s in SCENES}
    kinds = {template.text: template.order for template in TEMPLATES if template.order}
    moved = 0
    for asked in RECORDS:
        kind = kinds.get(asked["question_content"])
        if not kind:
            continue
        values = tuple(json.loads(asked["templ_values"]))
        replies = []
        for concert in (by_id[asked["video_id"]], exchanged[asked["video_id"]]):
            contenders = kind.contenders(concert, values)
            replies.append(sorted((p.instrument, p.seat or -1, kind.reply(concert, values, p)) for p in contenders))
        assert replies[0] == replies[1]
        moved += by_id[asked["video_id"]] != exchanged[asked["video_id"]]
    assert moved > 300


def test_the_right_answer_is_always_among_the_contenders() -> None:
    by_id = {s.video_id: s for s in SCENES}
    kinds = {template.text: template.order for template in TEMPLATES if template.order}
    for asked in RECORDS:
        if kind := kinds.get(asked["question_content"]):
            concert, values = by_id[asked["video_id"]], tuple(json.loads(asked["templ_values"]))
            replies = {kind.reply(concert, values, p) for p in kind.contenders(concert, values)}
            assert asked["anser"] in replies | ({"simultaneously"} if kind.may_tie else set())


def test_without_the_order_first_and_last_stay_guesses() -> None:
    rules = fit_order_blind(SCENES, RECORDS)
    scores = order_blind_accuracy(SCENES, RECORDS, rules)
    assert len(scores) == len(RECORDS)
    for topic in ("first instrument", "last instrument"):
        of_topic = [score for score, asked in zip(scores, RECORDS, strict=True) if asked["topic"] == topic]
        assert len(of_topic) > 100
        assert 0.25 < np.mean(of_topic) < 0.5
