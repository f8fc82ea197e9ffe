"""Draws docs/pictures/serve.png: the page to ask on, opened in Chromium, with a rendered concert asked about.

python -m docs.picture_of_serve --run runs/demo --concerts data/demo
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from .chromium import launched

PICTURE = Path(__file__).parent / "pictures" / "serve.png"
QUESTION = "Which instrument is the first to come in?"
PATIENCE_MS = 180_000
"""A slow machine reads a model and encodes a clip within this."""


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probed:
        probed.bind(("127.0.0.1", 0))
        return int(probed.getsockname()[1])


@contextmanager
def serving(options: Sequence[str], port: int, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The real command in a process of its own, ready to be opened, and ended as a service manager would."""
    command = [sys.executable, "-m", "examples.avqa", "serve", "--port", str(port), *options]
    with subprocess.Popen(
        command,
        cwd=Path(__file__).parents[1],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            _await_address(process)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def _await_address(process: subprocess.Popen[str]) -> None:
    output: IO[str] | None = process.stdout
    assert output is not None
    said = []
    for line in output:
        said.append(line)
        if line.startswith("Page: "):
            return
    raise RuntimeError("".join(said))


@contextmanager
def opened(port: int, width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Page]:
    """The page in a browser window of this size."""
    with sync_playwright() as playwright, launched(playwright) as browser:
        page = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", locale="en"
        )
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"http://127.0.0.1:{port}/")
        page.get_by_label("or type one").wait_for()
        yield page


def ask(page: Page, question: str) -> None:
    """Types a question and waits for another picture than the one that is shown."""
    picture = page.locator("#picture img")
    before = picture.get_attribute("src") if picture.count() else None
    page.get_by_label("or type one").fill(question)
    page.get_by_label("or type one").press("Enter")
    page.wait_for_function(
        "before => { const img = document.querySelector('#picture img'); return img && img.src !== before; }",
        arg=before,
    )
    _settled(page)


def answered(page: Page, clip: str, question: str) -> None:
    """Waits for the picture of this clip and this question, and for the bar of progress to go."""
    page.locator(f'#picture img[alt^="{clip}: "][alt$="{question}"]').wait_for()
    _settled(page)


def _settled(page: Page) -> None:
    page.locator("#answers [data-testid=status-tracker].hide").wait_for(state="attached")


def pick(page: Page, label: str, choice: str) -> None:
    """Picks one of a list's choices."""
    page.get_by_label(label).click()
    page.get_by_role("option", name=choice, exact=True).click()


def _asked_about(concerts: Path, question: str) -> str:
    """The first test concert whose annotations hold this question, so that the page knows the true answer."""
    for record in json.loads((concerts / "test.json").read_text(encoding="utf-8")):
        words, values = record["question_content"].split(" "), iter(json.loads(record["templ_values"]))
        if " ".join(next(values) if "<" in word else word for word in words) == question:
            return str(record["video_id"])
    raise RuntimeError(f"no concert of {concerts / 'test.json'} is asked: {question}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Starts the page, asks, and takes the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="runs/demo", help="folder that fit wrote")
    parser.add_argument("--concerts", type=Path, default=Path("data/demo"), help="folder that concert wrote")
    parser.add_argument("--out", type=Path, default=PICTURE)
    parser.add_argument("--width", type=int, default=1280, help="of the window, in pixels")
    parser.add_argument("--dark", action="store_true", help="as for a visitor who prefers dark pages")
    options = parser.parse_args(arguments)
    port = free_port()
    with (
        serving(["--run", options.run, "--concerts", str(options.concerts)], port),
        opened(port, options.width, dark=options.dark) as page,
    ):
        ask(page, QUESTION)
        concert = _asked_about(options.concerts, QUESTION)
        pick(page, "Concert", concert)
        answered(page, f"{concert}.mp4", QUESTION)
        # The first frame of the clip is there, and no focus is drawn.
        page.wait_for_function("[...document.querySelectorAll('video')].some(video => video.readyState >= 2)")
        page.get_by_label("or type one").blur()
        screenshot = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    # A palette halves the file, and the eye sees no difference.
    screenshot.quantize(256, dither=Image.Dither.NONE).save(options.out, optimize=True)
    print(f"Picture: {options.out}")


if __name__ == "__main__":
    main()
