"""The published figures fit each other and say where they are from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from examples.avqa.annotations import QUESTION_TYPES
from examples.avqa.errors import UserError
from examples.avqa.published import FILE, published
from examples.avqa.results import MODALITIES

ANNOTATIONS = Path(__file__).parents[3] / "shared" / "annots" / "test.json"


def test_the_types_make_up_the_published_total() -> None:
    """Each figure times its count is a whole number of right answers, and they add up to the published total."""
    music = published("music-avqa")
    accuracy = music.systems["QA-TIGER"].accuracy
    right = {name: accuracy[name] / 100 * count for name, count in music.by_type.items()}
    assert music.by_type.keys() == set(QUESTION_TYPES.values())
    assert sum(music.by_type.values()) == music.count == 9129
    for name, number in right.items():
        assert number == pytest.approx(round(number), abs=0.005 / 100 * music.by_type[name]), name
    assert round(100 * sum(map(round, right.values())) / 9129, 2) == accuracy["All"]


@pytest.mark.skipif(not ANNOTATIONS.is_file(), reason="MUSIC-AVQA's annotations are not in ../shared/annots")
def test_the_counts_are_those_of_the_published_file() -> None:
    names = [QUESTION_TYPES[tuple(json.loads(record["type"]))] for record in json.loads(ANNOTATIONS.read_text())]
    assert {name: names.count(name) for name in set(names)} == published("music-avqa").by_type


@pytest.mark.parametrize("name", json.loads(FILE.read_text(encoding="utf-8")))
def test_every_figure_has_a_source_and_a_row(name: str) -> None:
    figures = published(name)
    rows = {*QUESTION_TYPES.values(), *MODALITIES, "All"}
    assert (figures.count is None) == (figures.count_source == "")
    for system in figures.systems.values():
        assert "arXiv" in system.source
        assert rows >= system.accuracy.keys() >= {"All"}
        assert all(0 < value < 100 for value in system.accuracy.values())


def test_averages_are_computed_only_from_all_types() -> None:
    tables = published("music-avqa").tables()
    assert tables["QA-TIGER"]["A-Avg"].accuracy == pytest.approx((863 + 403) / (1017 + 594))
    assert tables["QA-TIGER"]["AV-Avg"].count == 988 + 1265 + 920 + 1101 + 822
    assert tables["TSPM"]["A-Avg"].accuracy is None
    assert tables["TSPM"].total == pytest.approx(0.7679)


def test_unknown_names_are_told_with_the_known() -> None:
    with pytest.raises(UserError, match=r"'music'; known are music-avqa, .*music-avqa-v2-balance-to-balance"):
        published("music")
