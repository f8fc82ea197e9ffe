"""The README's recorded tables are those of the recorded files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from examples.avqa import readme
from examples.avqa.errors import UserError
from examples.avqa.readme import main, rendered
from examples.avqa.results import AccuracyRow, AccuracyTable, tables_to_json

TEXT = "# Title\n\n<!-- recorded: concerts -->\nold\n<!-- end -->\n\nafter\n"
ROWS = (AccuracyRow("AV-Temp", "type", 10, 0.5, 0.02, 3), AccuracyRow("All", "total", 10, 0.5, 0.02, 3))
RECORD: dict[str, Any] = {
    "provenance": {"date": "2024-01-31", "commit": "abc123", "device": "CPU", "python": "3.11", "torch": "2.6"},
    "settings": {"seed": [1, 2, 3]},
    "tables": tables_to_json({"QA-TIGER": AccuracyTable(ROWS)}),
}


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(readme, "RECORDED", tmp_path)
    (tmp_path / "concerts.json").write_text(json.dumps(RECORD))
    return tmp_path / "concerts.json"


def test_a_block_is_filled_with_the_table_and_where_it_comes_from(recorded: Path) -> None:
    text = rendered(TEXT)
    assert "| AV-Temp | 10 | 50.0 ± 2.0 |" in text
    assert "3 seeds" in text
    assert "2024-01-31 at commit abc123" in text
    assert text.startswith("# Title\n\n<!-- recorded: concerts -->\n")
    assert text.endswith("<!-- end -->\n\nafter\n")
    assert "old" not in text


def test_filling_twice_changes_nothing(recorded: Path) -> None:
    assert rendered(rendered(TEXT)) == rendered(TEXT)


def test_each_block_has_its_own_record_and_renderer(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(readme.RENDERERS, "other", lambda record, path: f"{record['speed']} from {path.name}")
    (recorded.parent / "other.json").write_text(json.dumps({"speed": 5}))
    text = rendered(TEXT + TEXT.replace("concerts", "other"))
    assert text.count("<!-- recorded: other -->\n\n5 from other.json\n\n<!-- end -->") == 1
    assert text.count("3 seeds") == 1


@pytest.mark.parametrize("name", ["concert", "con-certs", "concerts table"])
def test_a_block_that_nothing_renders_is_told(recorded: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"no block is called '{name}'; known are concerts"):
        rendered(TEXT.replace("concerts", name))


def test_text_without_blocks_stays() -> None:
    assert rendered("# Title\n<!-- end -->\n") == "# Title\n<!-- end -->\n"


def _unequal(record: dict[str, Any]) -> dict[str, Any]:
    other = AccuracyTable((AccuracyRow("All", "total", 11, 0.5),))
    return record | {"tables": record["tables"] | tables_to_json({"other": other})}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "3",
        "{}",
        json.dumps(RECORD | {"tables": {"QA-TIGER": [{"name": "All"}]}}),
        json.dumps(RECORD | {"tables": {}}),
        json.dumps(RECORD | {"tables": [1]}),
        json.dumps(RECORD | {"provenance": {"date": "today"}}),
        json.dumps(RECORD | {"settings": None}),
        json.dumps(_unequal(RECORD)),
    ],
)
def test_a_broken_record_is_named_and_the_readme_stays(
    recorded: Path, content: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded.write_text(content)
    file = recorded.parent / "README.md"
    file.write_text(TEXT)
    monkeypatch.setattr(readme, "PAGES", (file,))
    assert main() == 2
    assert file.read_text() == TEXT
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "concerts.json" in error


def test_a_missing_record_is_named(recorded: Path) -> None:
    recorded.unlink()
    with pytest.raises(UserError, match=r"concerts\.json does not exist"):
        rendered(TEXT)


def test_main_writes_what_changed_once(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = recorded.parent / "README.md"
    file.write_text(TEXT)
    monkeypatch.setattr(readme, "PAGES", (file,))
    assert (main(), main()) == (0, 0)
    assert capsys.readouterr().out == "README.md: written\nREADME.md: up to date\n"
    assert file.read_text() == rendered(TEXT)


@pytest.mark.parametrize("page", readme.PAGES, ids=lambda page: page.name)
def test_the_committed_pages_are_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<!-- recorded: " in text
    assert rendered(text) == text


@pytest.mark.parametrize("page", sorted([readme.ROOT / "README.md", *(readme.ROOT / "docs").rglob("*.md")]))
def test_what_a_committed_page_links_to_in_the_tree_is_there(page: Path) -> None:
    prose = re.sub(r"^(```+).*?^\1$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", prose)
    assert [link for link in links if not (page.parent / link).exists()] == []
