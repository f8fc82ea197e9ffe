"""No link of the built site leads nowhere: pages, pictures and places within them."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytestmark = pytest.mark.slow


class _Page(HTMLParser):
    """What a page links to, and the places that can be linked to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.outside: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.places.add(value)
            if value and (name == "src" or (name == "href" and tag in ("a", "link"))):
                self.links.append(value)
                # What a browser would load by itself from another host.
                if urlsplit(value).netloc and not (tag == "a" or "canonical" in str(attrs)):
                    self.outside.append(value)


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, _Page]:
    return {path: _Page(path) for path in site.rglob("*.html")}


def test_the_site_has_its_pages_and_those_of_linked_files(pages: dict[Path, _Page], site: Path) -> None:
    assert (site / "index.html") in pages
    assert (site / "source" / "LICENSE.html") in pages or (site / "source" / "CHANGELOG.html") in pages
    assert len(pages) > 40


def test_every_link_leads_somewhere(pages: dict[Path, _Page], site: Path) -> None:
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                broken.append(f"{path.relative_to(site)}: {link} does not exist")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
                broken.append(f"{path.relative_to(site)}: {link} has no such place")
    assert broken == []


def test_pages_load_nothing_from_other_hosts(pages: dict[Path, _Page]) -> None:
    assert {link for page in pages.values() for link in page.outside} == set()


def test_no_page_shows_an_equation_as_it_is_written(pages: dict[Path, _Page]) -> None:
    for path in pages:
        text = path.read_text(encoding="utf-8")
        for raw in ("$<code>", "arithmatex", "<mi>&</mi>", r"<mi>\\"):
            assert raw not in text.partition("<article")[2].partition("</article")[0], path
