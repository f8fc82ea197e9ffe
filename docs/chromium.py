"""Debian's Chromium under Playwright, for the pictures of pages and for their tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Playwright

# The browser speaks to nobody by itself, and runs as root in a container.
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str:
    """The browser: $CHROMIUM, or the one that is installed.

    Raises:
        RuntimeError: there is none.
    """
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not found:
        raise RuntimeError("no Chromium; install it with: apt-get install chromium, or name another one as $CHROMIUM")
    return found


@contextmanager
def launched(playwright: Playwright) -> Iterator[Browser]:
    """A headless browser, closed afterwards.

    Raises:
        RuntimeError: there is none.
    """
    browser = playwright.chromium.launch(executable_path=chromium(), headless=True, args=list(_ARGUMENTS))
    try:
        yield browser
    finally:
        browser.close()
