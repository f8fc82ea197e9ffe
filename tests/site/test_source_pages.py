"""What the site's build adds: pages of linked files, and equations."""

from __future__ import annotations

from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

from docs.hooks.mathml import display, on_page_content

HOOKS = Path(__file__).parents[2] / "docs" / "hooks"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("x = 1  # ``` in a comment\n")
    (tmp_path / "code" / "README.md").write_text("# Read me\n\n[code](a.py), [home](../docs/index.md#here)\n")
    (tmp_path / "code" / "data.bin").write_bytes(b"\x00\xff")
    (tmp_path / "mkdocs.yml").write_text(
        f"site_name: t\nuse_directory_urls: false\nplugins: []\nhooks: [{HOOKS / 'source_pages.py'}]\n"
        "validation: {anchors: warn, unrecognized_links: warn}\nstrict: true\n"
    )
    return tmp_path


def _built(project: Path, index: str, deep: str = "# Deep\n") -> Path:
    (project / "docs" / "index.md").write_text(index)
    (project / "docs" / "deep" / "page.md").write_text(deep)
    build(load_config(str(project / "mkdocs.yml"), site_dir=str(project / "site")))
    return project / "site"


def test_a_linked_file_becomes_a_page(project: Path) -> None:
    site = _built(project, "# Here\n\n[code](../code/a.py#L1-L2)\n")
    assert 'href="source/code/a.py.html"' in (site / "index.html").read_text()
    assert "``` in a comment" in (site / "source" / "code" / "a.py.html").read_text()


def test_links_are_followed_from_page_to_page_and_back(project: Path) -> None:
    site = _built(project, "# Here\n", "# Deep\n\n[readme](../../code/README.md), [folder](../../code/)\n")
    assert 'href="../source/code/index.html"' in (site / "deep" / "page.html").read_text()
    readme = (site / "source" / "code" / "index.html").read_text()
    assert 'href="a.py.html"' in readme
    assert 'href="../../index.html#here"' in readme
    assert (site / "source" / "code" / "a.py.html").is_file()
    assert "data.bin" in (site / "source" / "code.html").read_text()


def test_code_keeps_its_brackets(project: Path) -> None:
    site = _built(project, "# Here\n\n```text\n[code](../code/a.py)\n```\n")
    assert "[code](../code/a.py)" in (site / "index.html").read_text()
    assert not (site / "source").exists()


@pytest.mark.parametrize("link", ["../code/missing.py", "missing.md"])
def test_a_link_to_nothing_stops_a_strict_build(project: Path, link: str) -> None:
    with pytest.raises(SystemExit, match="strict mode"):
        _built(project, f"# Here\n\n[nothing]({link})\n")


def test_equations_become_mathml() -> None:
    assert "<msub>" in display(r"x_t < \mu", "math", "equation", {}, None)
    assert "<mtable" in display(r"\begin{aligned} a &= b \\ c &= d \end{aligned}", "math", "equation", {}, None)
    assert on_page_content('<p><span class="arithmatex">\\(B\\)</span></p>').startswith("<p><math")
    page = on_page_content("<p>at $<code>t &lt; \\mu</code>$ and $5</p>")
    assert page.startswith("<p>at <math")
    assert page.endswith("and $5</p>")
    assert "&#x0003C;" in page
