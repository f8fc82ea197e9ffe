"""docs/reliability.md says what the records say, and every defect has its test and its line in the changelog."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.stress import attacks, page
from tests.stress.attack import Attack, Defect, Outcome, Run
from tests.stress.record import RECORDED, made, read, write

ROOT = Path(__file__).resolve().parents[2]
FOUND = attacks.load()
DEFECTS = [(attack.name, defect) for attack in FOUND.values() for defect in attack.defects]


def _attack(name: str = "one", **changes: object) -> Attack:
    attack = Attack(name, "Numerics", "sums | products", "they add up", lambda run: Outcome(3, ()), 3, 1)
    return replace(attack, **changes)  # type: ignore[arg-type]  # of several types


def test_the_page_is_up_to_date() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.filled(text, page.tables(FOUND.values())) == text


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.json")), ids=lambda path: path.stem)
def test_what_is_recorded_was_a_full_run_in_which_nothing_failed(path: Path) -> None:
    record = read(RECORDED, path.stem)
    assert record is not None
    assert record.amount >= FOUND[path.stem].full
    assert record.failures == ()
    assert "dirty" not in record.provenance["commit"]


@pytest.mark.parametrize(("attack", "defect"), DEFECTS)
def test_a_defect_has_its_test(attack: str, defect: Defect) -> None:
    file, _, name = defect.test.partition("::")
    assert re.search(rf"^def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), defect.test


@pytest.mark.parametrize(("attack", "defect"), DEFECTS)
def test_a_defect_has_its_line_in_the_changelog(attack: str, defect: Defect) -> None:
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("- ") and defect.changelog in line for line in lines), defect.failed


def test_a_row_holds_what_was_found(tmp_path: Path) -> None:
    attack = _attack(defects=(Defect("2 | 2 was 5", "tests/test_a.py::test_b", "Sums"),))
    write(tmp_path, made(attack, 3, attack.run(Run(3, tmp_path)), 0.5))
    text = page.tables([attack], tmp_path)
    assert "| sums \\| products | 3 inputs | 2 \\| 2 was 5 ([test](../tests/test_a.py)) | they add up |" in text
    assert "`python -m tests.stress run one`" in text


def test_what_fails_now_is_said_first(tmp_path: Path) -> None:
    attack = _attack()
    write(tmp_path, made(attack, 3, Outcome(3, ("1 + 1 is 3",)), 0.5))
    assert "**1 of 3 fail**, such as: 1 + 1 is 3" in page.tables([attack], tmp_path)


def test_what_was_not_run_in_full_says_so(tmp_path: Path) -> None:
    assert "| not run in full yet | nothing | they add up |" in page.tables([_attack()], tmp_path)


def test_a_broken_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text("[]")
    with pytest.raises(ValueError, match=r"one\.json is no record"):
        page.tables([_attack()], tmp_path)
