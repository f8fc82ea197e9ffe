"""The README's badges say what pyproject.toml and the version say."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from docs import badges


@pytest.mark.parametrize("name", sorted(badges.facts()))
def test_the_committed_badge_is_true(name: str) -> None:
    label, value = badges.facts()[name]
    drawn = (badges.OUT / f"{name}.svg").read_text(encoding="utf-8")
    assert drawn == badges.badge(label, value)
    assert value in "".join(ElementTree.fromstring(drawn).itertext())


def test_the_readme_shows_every_badge() -> None:
    readme = (badges.ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"docs/badges/{name}.svg" in readme for name in badges.facts())
