"""The pictures of docs/idea.md are drawn from their record alone, and the page says what the record says."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from docs.figures import __main__ as command
from docs.figures import page, pictures, record
from docs.figures.record import BINS, MIXTURES, POINTS, Kind, Record
from docs.figures.style import fingerprint
from examples.avqa.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
LARGEST = 300_000
"""Bytes of a picture."""


@pytest.fixture(scope="module")
def committed() -> Record:
    return record.load()


@pytest.fixture(scope="module")
def drawn(committed: Record, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drawn")
    pictures.draw_all(committed, out)
    return out


def test_the_record_says_where_it_comes_from_and_of_what(committed: Record) -> None:
    assert {"date", "commit", "device", "torch"} <= committed.provenance.keys()
    assert committed.clips > 50
    assert {kind.name for kind in committed.kinds} > {"first instrument", "last instrument", "A-Count"}
    assert [row.topic for row in committed.found] == ["first instrument", "second instrument", "last instrument"]
    assert committed.example.players


def test_reading_and_writing_is_the_identity(committed: Record, tmp_path: Path) -> None:
    record.write_record(tmp_path / "again.json", committed)
    assert record.load(tmp_path / "again.json") == committed
    assert (tmp_path / "again.json").read_bytes() == record.PATH.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", pictures.NAMES)
def test_a_picture_is_drawn_from_the_record_alone(name: str, drawn: Path, committed: Record) -> None:
    file = pictures.path_of(name, drawn)
    assert 5_000 < file.stat().st_size < LARGEST
    assert ElementTree.fromstring(file.read_text(encoding="utf-8")).tag.endswith("svg")
    assert fingerprint(pictures.sources(committed)[name]) in file.read_text(encoding="utf-8")


@pytest.mark.slow
def test_drawing_twice_gives_the_same_files(drawn: Path, committed: Record, tmp_path: Path) -> None:
    for file in pictures.draw_all(committed, tmp_path):
        assert file.read_bytes() == (drawn / file.name).read_bytes()


@pytest.mark.slow
def test_another_record_gives_other_pictures(drawn: Path, committed: Record, tmp_path: Path) -> None:
    value = json.loads(record.PATH.read_text())
    for kind in value["kinds"]:
        for look in kind["looks"].values():
            look["gates"].reverse()
    _write(tmp_path / "other.json", value)
    pictures.draw_all(record.load(tmp_path / "other.json"), tmp_path)
    same, other = (pictures.path_of("gates", folder).read_bytes() for folder in (drawn, tmp_path))
    assert same != other
    assert pictures.path_of("layer", drawn).read_bytes() == pictures.path_of("layer", tmp_path).read_bytes()


@pytest.mark.parametrize("name", pictures.NAMES)
def test_the_committed_picture_is_of_the_committed_record_and_stands_on_the_page(name: str, committed: Record) -> None:
    file = pictures.path_of(name)
    assert fingerprint(pictures.sources(committed)[name]) in file.read_text(encoding="utf-8")
    assert file.stat().st_size < LARGEST
    # With words for whoever does not see it.
    assert re.search(rf"!\[[^\]]{{40,}}\]\(pictures/{file.name}\)", page.PAGE.read_text(encoding="utf-8"))


def test_the_committed_page_is_up_to_date(committed: Record) -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert len(re.findall("<!-- recorded: ", text)) == len(page.BLOCKS)
    assert page.rendered(text, committed) == text


def test_a_block_that_nothing_renders_is_told(committed: Record) -> None:
    with pytest.raises(UserError, match="no block is called 'speed'; known are idea_accuracy"):
        page.rendered("<!-- recorded: speed -->\n<!-- end -->\n", committed)


def test_filling_writes_only_what_changed(committed: Record, tmp_path: Path) -> None:
    (tmp_path / "idea.md").write_text("# Title\n<!-- recorded: idea_run -->\nold\n<!-- end -->\nafter\n")
    assert page.fill(committed, tmp_path / "idea.md")
    text = (tmp_path / "idea.md").read_text()
    assert f"{committed.questions:,} questions about {committed.clips} test concerts" in text
    assert text.startswith("# Title\n")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "old" not in text
    assert not page.fill(committed, tmp_path / "idea.md")


def test_types_that_others_win_are_named(committed: Record) -> None:
    said = page.accuracy(committed)
    ahead = said.partition("of the nine types: ")[2]
    # In the recorded table of the README: TSPM counts by ear better.
    assert re.search(r"TSPM in [^;]*A-Count", ahead)
    assert "AV-Temp" not in ahead.partition(". ")[0]


def test_what_the_page_says_in_words_is_what_the_record_says(committed: Record) -> None:
    """Another run may show something else: then the page wants other words."""

    def kind(name: str) -> Kind:
        found = committed.kind(name)
        assert found is not None, name
        return found

    first, last, second = (kind(f"{name} instrument") for name in ("first", "last", "second"))
    # A rough clock for the sound, early for the second too, and none for the sight.
    early, late = slice(0, 2), slice(-2, None)
    for each, leads, trails in ((first, early, late), (last, late, early)):
        gates = each.looks["sound"].gates
        assert sum(gates[leads]) > sum(gates[trails]) > 0.15
    assert all(np.argmax(each.looks["sound"].timeline) < POINTS / 3 for each in (first, second))
    assert all(np.argmax(each.looks["sight"].timeline) > 2 * POINTS / 3 for each in (first, second, last))
    # Timelines follow the question and not the concert.
    for row in committed.found:
        assert all(abs(row.own[name] - row.others[name]) < 2 * row.gain_error[name] for name in MIXTURES)
    of_first, _, of_last = committed.found
    assert of_first.own["sound"] > 1.3 * of_first.uniform
    assert of_last.own["sound"] <= of_last.uniform
    assert of_first.own["sight"] < of_first.uniform < of_last.uniform < of_last.own["sight"]
    # The same form of answer, the same shares; another form, others.
    for name in MIXTURES:
        shares = {
            topic: np.array(kind(topic).looks[name].gates) for topic in ("count heard", "count seen", "heard", "seen")
        }
        for form in ("count heard", "count seen"), ("heard", "seen"):
            within = np.abs(shares[form[0]] - shares[form[1]]).sum()
            assert 2 * within < np.abs(shares["count heard"] - shares["heard"]).sum()
    # The concert's second answer is its first one again.
    asked = committed.example.asked
    assert asked[0].predicted == asked[1].predicted == asked[0].answer != asked[1].answer
    # Some centers stand in the bin at a bound more than anywhere else.
    for name in MIXTURES:
        middle = [row[expert * 8 : expert * 8 + 8] for expert, row in enumerate(committed.spreads[name].centers)]
        assert sum(max(row) in (row[0], row[-1]) and max(row) > 0.4 * sum(row) for row in middle) >= 2


def _drop(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda value: value.pop(name)


def _edited(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda value: value["kinds"][0]["looks"][MIXTURES[0]].update(fields)


@pytest.mark.parametrize(
    ("breaks", "told"),
    [
        (_drop("kinds"), "kinds"),
        (_drop("provenance"), "provenance"),
        (lambda value: value["kinds"].pop(0), "counts do not sum"),
        (_edited(timeline=[0.5]), f"timeline wants {POINTS} numbers"),
        (_edited(timeline=[2.0] * POINTS), r"numbers in \[0, 1\]"),
        (_edited(gates=[1.0]), "gates want"),
        (_edited(speed=1), "speed"),
        (lambda value: value["spreads"]["sight"]["centers"].pop(), f"rows of {BINS} numbers"),
        (lambda value: value["example"].update(asked=[]), "asked nothing"),
    ],
)
def test_a_broken_record_is_told_with_the_command_that_makes_it(
    breaks: Callable[[dict[str, Any]], Any], told: str, tmp_path: Path
) -> None:
    value = copy.deepcopy(json.loads(record.PATH.read_text()))
    breaks(value)
    _write(tmp_path / "broken.json", value)
    with pytest.raises(UserError, match=rf"broken\.json is no record of routing .*{told}.*python -m docs\.figures"):
        record.load(tmp_path / "broken.json")


def test_what_cannot_be_read_is_one_line_and_draws_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--record", str(tmp_path / "none.json")], ["--run", str(tmp_path / "none")]):
        assert command.main([*arguments, "--out", str(tmp_path / "out"), "--no-page"]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))
