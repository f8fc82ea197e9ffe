"""The feature table: the tests it names are there, each other cell says where one sees it, both pages are fresh."""

from __future__ import annotations

import ast
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from docs import features

ROOT = Path(__file__).resolve().parents[1]
RECORD = features.load()
ROWS = [pytest.param(row, id=row.id) for row in RECORD.rows]


@cache
def defined_in(path: str) -> frozenset[str]:
    """The tests that a file defines, as the part of a node id behind its path."""
    if not Path(path).name.startswith("test_") or not (ROOT / path).is_file():
        return frozenset()
    found = set()
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            found |= {f"{node.name}::{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return frozenset(name for name in found if name.rpartition("::")[2].startswith("test_"))


def test_tests_are_found_and_others_are_not() -> None:
    here = "tests/test_features.py"
    assert "test_tests_are_found_and_others_are_not" in defined_in(here)
    assert "defined_in" not in defined_in(here)
    assert not defined_in("tests/conftest.py")
    assert not defined_in("tests/test_nowhere.py")


@pytest.mark.parametrize("row", ROWS)
def test_what_we_have_is_shown_by_tests_that_are_there(row: features.Row) -> None:
    ours = row.ours
    missing = [test for test in ours.tests if test.partition("::")[2] not in defined_in(test.partition("::")[0])]
    assert missing == []
    assert len(set(ours.tests)) == len(ours.tests)
    if ours.value in ("yes", "partly"):
        assert ours.tests
    # What is being built is named until its tests are there.
    assert bool(ours.feature) == (ours.value == "being built")
    assert ours.note or ours.feature


@pytest.mark.parametrize("row", ROWS)
def test_every_other_cell_has_a_reason_and_a_source(row: features.Row) -> None:
    for name, cell in row.others.items():
        assert cell.sources, name
        assert all(source and not source.startswith("/") for source in cell.sources), name
        assert cell.note or cell.searched, name
        if cell.value == "no":
            lines = all("#L" in source for source in cell.sources)
            assert lines or cell.searched, f"{name}: a 'no' names lines, or what was searched for"


def test_the_last_table_is_what_we_lack() -> None:
    last = RECORD.rows[-1].group
    assert {row.ours.value for row in RECORD.rows if row.group == last} == {"no"}
    assert "no" not in {row.ours.value for row in RECORD.rows if row.group != last}


def test_rows_and_columns_are_told_apart() -> None:
    for names in ([row.id for row in RECORD.rows], [row.title for row in RECORD.rows], [c.id for c in RECORD.columns]):
        assert len(set(names)) == len(names)
    assert all(len(column.commit) == 40 for column in RECORD.columns)


def test_the_committed_pages_are_up_to_date() -> None:
    assert features.PAGE.read_text(encoding="utf-8") == features.page(RECORD)
    readme = features.README.read_text(encoding="utf-8")
    assert features.filled(readme, RECORD) == readme


def test_every_link_of_a_table_is_at_the_commit_that_was_looked_at() -> None:
    column = RECORD.columns[0]
    assert column.link("src/a.py#L3") == f"{column.url}/blob/{column.commit}/src/a.py#L3"
    assert column.link("src") == f"{column.url}/tree/{column.commit}/src"
    assert "/main/" not in features.page(RECORD)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row["ours"].update(value="maybe"), "'query_router' has a value that is none of"),
        (lambda row: row["others"]["tutel"].update(value="being built"), "'query_router' has a value that is none of"),
        (lambda row: row["others"].pop("tutel"), "'query_router' must name every column"),
    ],
)
def test_a_broken_record_is_told(tmp_path: Path, change: Any, message: str) -> None:
    record = json.loads(features.RECORD.read_text(encoding="utf-8"))
    change(record["rows"][0])
    broken = tmp_path / "features.json"
    broken.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        features.load(broken)


@pytest.mark.parametrize("text", ["no block\n", "<!-- features -->\n<!-- end -->\n" * 2])
def test_a_readme_holds_the_block_once(text: str) -> None:
    with pytest.raises(ValueError, match="must be one block"):
        features.filled(text, RECORD)


def test_only_the_block_changes() -> None:
    before = "# Title\n<!-- measured: a -->\nkept\n<!-- end -->\n\n"
    after = "\n\n<!-- recorded: b -->\nkept\n<!-- end -->\n"
    got = features.filled(f"{before}<!-- features -->\nold\n<!-- end -->{after}", RECORD)
    assert got == f"{before}<!-- features -->\n\n{features.short(RECORD)}\n\n<!-- end -->{after}"
