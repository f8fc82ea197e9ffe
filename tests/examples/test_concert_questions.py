"""Questions about concerts: right by an independent judge, clear, balanced, and written as MUSIC-AVQA writes them."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.avqa.annotations import load_questions, load_vocabulary
from examples.avqa.baselines import MostFrequentAnswer
from examples.avqa.concert.annotate import ANSWERS, annotate, write_annotations
from examples.avqa.concert.questions import ask, share_out
from examples.avqa.concert.sample import SPLITS, sample_scenes
from examples.avqa.concert.scene import INSTRUMENTS, Player, Scene
from examples.avqa.concert.settings import TYPE_SHARES, ConcertSettings
from examples.avqa.concert.wording import TEMPLATES
from tests.examples.concert_judge import RULES, Judge, answer

SETTINGS = ConcertSettings(train=1500, val=30, test=300)
SCENES = {
    split: sample_scenes(SETTINGS, split, programs_per_instrument=dict.fromkeys(INSTRUMENTS, 2), drawings=2)
    for split in SPLITS
}
RECORDS = annotate(SCENES["train"], SETTINGS)


def found(text: str, scene: Scene) -> dict[tuple[str, ...], str]:
    """All questions that a template allows in a scene, whether or not they are asked."""
    (template,) = (template for template in TEMPLATES if template.text == text)
    return dict(template.find(scene))


def test_every_possible_question_is_clear_and_rightly_answered() -> None:
    tried = Counter[str]()
    for scene in SCENES["train"][:250]:
        judge = Judge(scene)
        for template in TEMPLATES:
            for values, given_answer in template.find(scene):
                assert given_answer == answer(judge, template.text, values), (template.text, values, scene)
                tried[template.text] += 1
    assert tried.keys() == RULES.keys()
    assert min(tried.values()) >= 20


def test_first_and_last_are_asked_wherever_they_are_clear() -> None:
    text = "Which instrument is the <FL> to come in?"
    for scene in SCENES["train"][:250]:
        judge = Judge(scene)
        clear = {(word,): answer(judge, text, (word,)) for word in ("first", "last")}
        assert found(text, scene) == {values: reply for values, reply in clear.items() if reply}


def test_the_questions_asked_are_rightly_answered() -> None:
    judges = {scene.video_id: Judge(scene) for scene in SCENES["train"][:250]}
    for record in RECORDS:
        if judge := judges.get(record["video_id"]):
            values = tuple(json.loads(record["templ_values"]))
            assert record["anser"] == answer(judge, record["question_content"], values)


def player(name: str, seat: float | None, *segments: tuple[float, float], loud: bool = False) -> Player:
    return Player(name, seat, segments, loud, False, 0, 0, 0.4, 0.0, 0)


def concert(*players: Player) -> Scene:
    return Scene("a", "train", 30.0, players, "indoor", None, 0)


DUO = concert(player("piano", 0.2, (1, 9)), player("tuba", 0.8, (6, 13)))


@pytest.mark.parametrize(
    ("text", "scene"),
    [
        # Equally loud, equally fast; 8 against 7 seconds.
        ("Does the <Object> sound louder than the <Object>?", DUO),
        ("Is the <LR> instrument louder than the <LR> one?", DUO),
        ("Does the <Object> play faster notes than the <Object>?", DUO),
        ("Does the <Object> play for longer than the <Object>?", DUO),
        # Two instruments leave no choice but one.
        ("Which instrument comes in directly <BA> the <Object>?", DUO),
        ("Which instrument is the second to come in?", DUO),
        # Two onsets 2.5 seconds apart, neither in order nor together.
        (
            "Which instrument is the <FL> to come in?",
            concert(player("piano", 0.2, (1, 9)), player("tuba", 0.8, (3.5, 13))),
        ),
        (
            "Which starts first, the <Object> or the <Object>?",
            concert(player("piano", 0.2, (1, 9)), player("tuba", 0.8, (3.5, 13))),
        ),
        # Two of a kind: the name means neither of them.
        (
            "Does the <Object> in the picture play from beginning to end?",
            concert(player("piano", 0.2, (0, 30)), player("piano", 0.8, (6, 13))),
        ),
        # Four players: two on each side.
        (
            "Is the <LR> instrument louder than the <LR> one?",
            concert(*(player(INSTRUMENTS[i], i / 4, (i, 20), loud=i == 0) for i in range(4))),
        ),
        # Two of three others play along.
        (
            "Which instrument plays while the <Object> plays?",
            concert(*(player(INSTRUMENTS[i], i / 4, (i, 20)) for i in range(3))),
        ),
    ],
)
def test_an_unclear_question_is_not_asked(text: str, scene: Scene) -> None:
    assert found(text, scene) == {}


def test_nobody_is_first_where_someone_plays_from_the_beginning_on() -> None:
    trio = concert(*DUO.players, player("flute", None, (0, 30)))
    assert found("Which instrument is the <FL> to come in?", trio) == {("last",): "tuba"}


def test_starting_together_is_an_answer() -> None:
    duo = concert(player("piano", 0.2, (1, 9)), player("tuba", 0.8, (1.1, 13)))
    assert set(found("Which starts first, the <Object> or the <Object>?", duo).values()) == {"simultaneously"}


def test_of_two_alike_it_is_not_asked_which_one_plays() -> None:
    twins = concert(player("tuba", 0.2, (1, 9)), player("tuba", 0.5), player("flute", 0.8, (5, 13)))
    assert not found("How many instruments in the picture can be heard?", twins)
    assert not found("Is the <LR> instrument louder than the <LR> one?", twins)
    assert found("Which instrument is the <FL> to come in?", twins) == {("first",): "tuba", ("last",): "flute"}
    assert not found("Where is the instrument that starts <FL>?", twins)


def test_missing_instruments_that_are_seen_or_heard_are_asked_about_first() -> None:
    scene = concert(player("piano", 0.2), player("tuba", 0.8, (1, 9)), player("flute", None, (5, 13)))
    assert found("Can a <Object> be heard?", scene) == {("piano",): "no", ("tuba",): "yes", ("flute",): "yes"}
    assert found("Does the picture show a <Object>?", scene)[("flute",)] == "no"


def test_questions_depend_on_the_scene_alone_and_none_is_asked_twice() -> None:
    alone = annotate(SCENES["train"][7:8], SETTINGS)
    in_company = [record for record in RECORDS if record["video_id"] == SCENES["train"][7].video_id]
    assert [r | {"question_id": 0} for r in alone] == [r | {"question_id": 0} for r in in_company]
    keys = [(r["video_id"], r["question_content"], r["templ_values"]) for r in RECORDS]
    assert len(set(keys)) == len(keys)


def test_yes_and_no_are_balanced_in_every_template() -> None:
    answers: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for record in RECORDS:
        answers[record["question_content"]][record["anser"]] += 1
    assert answers.keys() == RULES.keys()
    polar = {text: count for text, count in answers.items() if "yes" in count}
    assert len(polar) >= 15
    for text, count in polar.items():
        assert count.keys() == {"yes", "no"}
        assert 0.4 <= count["yes"] / count.total() <= 0.6, text


def test_the_mix_of_types_is_as_set() -> None:
    kinds = Counter(tuple(json.loads(record["type"])) for record in RECORDS)
    assert kinds.keys() == TYPE_SHARES.keys()
    for kind, share in TYPE_SHARES.items():
        assert kinds[kind] / len(RECORDS) == pytest.approx(share, abs=0.012)
    assert len(RECORDS) / len(SCENES["train"]) == pytest.approx(SETTINGS.questions_per_concert, rel=0.04)


@pytest.mark.slow
def test_fewer_questions_can_be_wanted() -> None:
    few = dataclasses.replace(SETTINGS, questions_per_concert=3.0)
    number = sum(len(ask(scene, few)) for scene in SCENES["train"][:300])
    assert number / 300 == pytest.approx(3, abs=0.3)


def test_which_instrument_is_first_or_last_has_a_topic_of_its_own() -> None:
    for record in RECORDS:
        is_it = record["question_content"] == "Which instrument is the <FL> to come in?"
        assert (record["topic"] in ("first instrument", "last instrument")) == is_it
        if is_it:
            assert json.loads(record["templ_values"]) == [record["topic"].split()[0]]
            assert record["anser"] in INSTRUMENTS
    assert not any("<" in record["topic"] or "{" in record["topic"] for record in RECORDS)


def test_the_files_are_read_back_by_the_reader_of_music_avqa(tmp_path: Path) -> None:
    scenes = [*SCENES["train"][:60], *SCENES["val"], *SCENES["test"][:40]]
    write_annotations(tmp_path, scenes, SETTINGS)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "answer2idx.json",
        "scenes.json",
        "settings.json",
        "test.json",
        "train.json",
        "val.json",
    ]
    vocabulary = load_vocabulary(tmp_path / "answer2idx.json")
    longest = json.loads((tmp_path / "answer2idx.json").read_text())["max_que_len"]
    everything = []
    for split in SPLITS:
        questions = load_questions(tmp_path / f"{split}.json", vocabulary)
        assert {q.video_id for q in questions} <= {s.video_id for s in scenes if s.split == split}
        everything += questions
    assert len({question.question_id for question in everything}) == len(everything)
    assert not any("<" in question.text or "?" in question.text for question in everything)
    assert max(len(question.text.split(" ")) for question in everything) == longest
    stored = json.loads((tmp_path / "scenes.json").read_text())
    assert [Scene.from_json(record) for record in stored] == scenes
    settings = json.loads((tmp_path / "settings.json").read_text())
    fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()}
    assert ConcertSettings(**fields) == SETTINGS


def test_the_vocabulary_is_music_avqas() -> None:
    assert len(set(ANSWERS)) == len(ANSWERS) == 42
    assert set(INSTRUMENTS) <= set(ANSWERS)
    assert {record["anser"] for record in RECORDS} <= set(ANSWERS)


@pytest.mark.slow
def test_the_text_alone_gives_away_less_than_half(tmp_path: Path) -> None:
    write_annotations(tmp_path, [*SCENES["train"], *SCENES["val"], *SCENES["test"]], SETTINGS)
    vocabulary = load_vocabulary(tmp_path / "answer2idx.json")
    train, test = (load_questions(tmp_path / f"{split}.json", vocabulary) for split in ("train", "test"))
    for key in ("text", "template", "type"):
        guesses = MostFrequentAnswer.fit(train, key=key).predict(test)
        right = sum(guess == question.answer for guess, question in zip(guesses, test, strict=True))
        assert 0.2 < right / len(test) < 0.45


@given(
    st.floats(0, 10),
    st.lists(st.tuples(st.floats(0.01, 5), st.floats(0, 5)), min_size=1, max_size=6),
)
def test_shares_sum_to_the_total_as_far_as_limits_allow(total: float, rows: list[tuple[float, float]]) -> None:
    weights, limits = [list(column) for column in zip(*rows, strict=True)]
    parts = share_out(total, weights, limits)
    assert all(0 <= part <= limit + 1e-9 for part, limit in zip(parts, limits, strict=True))
    assert sum(parts) == pytest.approx(min(total, sum(limits)))
    free = [part / weight for part, weight, limit in zip(parts, weights, limits, strict=True) if part < limit]
    assert free == pytest.approx([max(free, default=0)] * len(free))
