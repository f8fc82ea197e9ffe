"""A tag is refused until version, changelog, citation and addresses are there and agree."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import release


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What can be released as 1.2.3."""
    (tmp_path / "gaussian_moe").mkdir()
    (tmp_path / "gaussian_moe" / "_version.py").write_text('"""The version."""\n\n__version__ = "1.2.3"\n')
    (tmp_path / "CITATION.cff").write_text("cff-version: 1.2.0\nversion: 1.2.3\nrepository-code: here\n")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3 (2024-01-31)\n\n- New.\n\n## 1.2.2 (2024-01-01)\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n[project.urls]\nRepository = 1\n")
    return tmp_path


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_tree_that_is_ready(tree: Path) -> None:
    assert release.faults("v1.2.3", tree) == []


@pytest.mark.parametrize("tag", ["1.2.3", "v1.2.4", "v1.2.3rc1", ""])
def test_another_tag(tree: Path, tag: str) -> None:
    assert release.faults(tag, tree) == [
        f"the tag is {tag}, gaussian_moe/_version.py says 1.2.3: the tag must be v1.2.3"
    ]


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("CITATION.cff", "version: 1.2.3", "version: 1.2.2", "CITATION.cff says 1.2.2"),
        ("CITATION.cff", "repository-code: here\n", "", "CITATION.cff has no repository-code:"),
        ("pyproject.toml", "[project.urls]", "", r"pyproject.toml has no [project.urls]"),
        ("CHANGELOG.md", "(2024-01-31)", "(unreleased)", "CHANGELOG.md must have the heading `## 1.2.3 (YYYY-MM-DD)`"),
        ("CHANGELOG.md", "## 1.2.3", "## 1.2.4", "CHANGELOG.md must have the heading `## 1.2.3 (YYYY-MM-DD)`"),
        ("CHANGELOG.md", "## 1.2.2 (2024-01-01)", "## 1.2.3 (2024-01-01)", "`## 1.2.3 (YYYY-MM-DD)` once"),
    ],
)
def test_what_lacks_is_named(tree: Path, name: str, old: str, new: str, told: str) -> None:
    change(tree / name, old, new)
    (fault,) = release.faults("v1.2.3", tree)
    assert told in fault


def test_the_command_says_it_and_fails(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(release, "faults", lambda tag: [f"no {tag}"])
    assert release.main(["v9"]) == 1
    assert capsys.readouterr().err == "error: no v9\n"
    monkeypatch.setattr(release, "faults", lambda tag: [])
    assert release.main(["v9"]) == 0
    assert capsys.readouterr().out == "v9 can be released\n"
    assert release.main([]) == 2


def test_this_tree_lacks_nothing_but_a_date_and_the_addresses(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "CITATION.cff", "CHANGELOG.md", "gaussian_moe/_version.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(release.ROOT / name, tmp_path / name)
    now = release.version(tmp_path)
    change(tmp_path / "CHANGELOG.md", f"## {now} ({release.heading(now, tmp_path)})", f"## {now} (2024-01-31)")
    assert [fault for fault in release.faults(f"v{now}", tmp_path) if "address" not in fault] == []
