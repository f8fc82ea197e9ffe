"""The site in Debian's Chromium: at desktop and phone width, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Request, sync_playwright

from docs.chromium import launched

pytestmark = pytest.mark.browser
WIDTHS = {"desktop": 1280, "phone": 390}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launched(playwright) as browser:
        yield browser


def _pages(site: Path) -> list[str]:
    """Every page but those of linked files, of which one stands for all."""
    names = [path.relative_to(site).as_posix() for path in sorted(site.rglob("*.html"))]
    own = [name for name in names if not name.startswith("source/") and name != "404.html"]
    return [*own, next(name for name in names if name.startswith("source/"))]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_fits_and_asks_no_other_host(
    browser: Browser, site: Path, address: str, width: str, scheme: str
) -> None:
    context = browser.new_context(
        viewport={"width": WIDTHS[width], "height": 900}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page, asked, said = context.new_page(), [], []

    def note(request: Request) -> None:
        if not request.url.startswith((address, "data:", "blob:")):
            asked.append(request.url)

    page.on("request", note)
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    wrong = []
    for name in _pages(site):
        page.goto(f"{address}/{name}", wait_until="load")
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if over > 0:
            wrong.append(f"{name} is {over} px wider than the window")
        missing = page.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)")
        wrong += [f"{name}: {source} is not shown" for source in missing]
        assert page.evaluate("document.body.dataset.mdColorScheme") == ("slate" if scheme == "dark" else "default")
    context.close()
    assert (wrong, asked, said) == ([], [], [])


def test_the_search_finds_a_layer(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}/index.html")
    field = page.locator("input.md-search__input")
    field.click()
    # Key by key: the search listens to keys.
    field.press_sequentially("TemporalMoE", delay=20)
    page.locator(".md-search-result__link").first.wait_for(state="attached")
    assert page.locator(".md-search-result__link").count() > 0
    page.close()
