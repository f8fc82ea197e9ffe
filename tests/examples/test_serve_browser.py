"""The page in a real browser: a visit from the first click to the end of the server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from playwright.sync_api import Page

from docs.chromium import chromium
from docs.picture_of_serve import answered, ask, free_port, opened, pick, serving
from examples.avqa.answering import Asker
from examples.avqa.errors import UserError
from tests.examples.tiny_run import TinyData
from tests.examples.tiny_videos import write_video

pytestmark = pytest.mark.browser
FIRST, SECOND = "How many instruments sound?", "Is there a voiceover?"


class Site(NamedTuple):
    """What one visit needs."""

    run: Path
    clips: Path
    port: int
    temporary: Path


@pytest.fixture
def site(tiny: TinyData, tiny_run: Path, tmp_path: Path) -> Iterator[Site]:
    chromium()  # Or the test fails here, and says what to install.
    concerts, clips, temporary = tmp_path / "concerts", tmp_path / "clips", tmp_path / "temporary"
    for folder in (concerts / "videos", clips, temporary):
        folder.mkdir(parents=True)
    shutil.copy(tiny.root / "test.json", concerts)
    for number in range(3):
        write_video(concerts / "videos" / f"test_{number}.mp4", seconds=2 + number)
    port = free_port()
    options = ["--run", str(tiny_run), "--concerts", str(concerts), "--max_upload_mb", "1", "--max_seconds", "5"]
    with serving(options, port, TMPDIR=str(temporary), OMP_NUM_THREADS="1"):
        yield Site(tiny_run, clips, port, temporary)
    # The server was told to stop: nothing of the visit is left.
    assert list(temporary.glob("gaussian-moe-*")) == []


def _uploads(site: Site) -> set[str]:
    return {path.name for path in site.temporary.glob("gaussian-moe-*/**/*.mp4") if not path.name.startswith("test_")}


def _expected(site: Site, video: Path, question: str) -> list[str]:
    """The lines of the page's list, by the same model without a page."""
    asker = Asker(site.run)
    return [f"{name} {100 * p:.0f}%" for name, p in asker.ask(asker.watch(video), question, top=5).ranked]


def _shown(page: Page) -> list[str]:
    """The best answer, large, and every answer with its probability."""
    lines = page.locator("#answers").inner_text().split("\n")
    words = [line.strip() for line in lines if line.strip() and line.strip() != "Answer"]
    best, rest = words[0], words[1:]
    listed = [f"{name} {share}" for name, share in zip(rest[::2], rest[1::2], strict=True)]
    assert listed[0].startswith(f"{best} ")
    return listed


def _upload(page: Page, path: Path) -> None:
    # A clip that is there must be put away first, as a visitor does.
    if page.get_by_label("Clear").count():
        page.get_by_label("Clear").click()
    page.locator("input[type=file]").set_input_files(path)


def _error(page: Page) -> str:
    return page.locator("#message [role=alert]").inner_text()


def test_a_visit(site: Site) -> None:
    requests, complaints = list[str](), list[str]()
    clip = write_video(site.clips / "my own clip.mp4", seconds=2)
    with opened(site.port) as page:
        page.on("request", lambda request: requests.append(request.url))
        page.on(
            "console", lambda said: complaints.append(f"{said.text} {said.location}") if said.type == "error" else None
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(page.url)

        page.get_by_role("tab", name="Your own clip").click()
        _upload(page, clip)
        page.get_by_text("my own clip.mp4 is read").wait_for()
        assert _uploads(site) == {"my own clip.mp4"}
        ask(page, FIRST)
        assert _shown(page) == _expected(site, clip, FIRST)
        ask(page, SECOND)
        assert _shown(page) == _expected(site, clip, SECOND)
        assert SECOND in (page.locator("#picture img").get_attribute("alt") or "")

        # Another clip in its place: the one before is removed, and the question at hand is asked again.
        longer = write_video(site.clips / "longer.mp4", seconds=4, tone=(1, 2))
        _upload(page, longer)
        answered(page, "longer.mp4", SECOND)
        assert _shown(page) == _expected(site, longer, SECOND)
        assert _uploads(site) == {"longer.mp4"}

        _refused(page, site)

        page.get_by_role("tab", name="A rendered concert").click()
        pick(page, "Concert", "test_2")
        answered(page, "test_2.mp4", SECOND)
        pick(page, "Choose a question", FIRST)
        answered(page, "test_2.mp4", FIRST)
        video = site.clips.parent / "concerts" / "videos" / "test_2.mp4"
        assert _shown(page) == _expected(site, video, FIRST)
        right = _shown(page)[0].startswith("two ")
        said = page.locator("#message").inner_text()
        assert ("The model is right" in said) == right
        assert ("The model is wrong. True is: two." in said) == (not right)
        page.wait_for_function("[...document.querySelectorAll('video')].some(video => video.readyState >= 2)")
    own = (f"http://127.0.0.1:{site.port}/", "data:", f"blob:http://127.0.0.1:{site.port}/")
    assert requests
    assert [url for url in requests if not url.startswith(own)] == []
    # Gradio asks how far a small upload is when it is done already, is told 404, and says so twice.
    assert "\n".join(text for text in complaints if "upload_progress" not in text and text[:9] != "Response ") == ""


def _refused(page: Page, site: Site) -> None:
    """What cannot be taken is told as on the command line, by the file's own name, and not kept."""
    broken = site.clips / "broken.mp4"
    broken.write_text("hello")
    _upload(page, broken)
    page.locator("#message [role=alert]").wait_for()
    with pytest.raises(UserError) as wanted:
        Asker(site.run).watch(broken)
    assert _error(page) == str(wanted.value).replace(str(broken), "broken.mp4")
    assert page.locator("#picture img").count() == 0

    _upload(page, write_video(site.clips / "long.mp4", seconds=6))
    page.get_by_text("long.mp4 lasts 6.0 s, and this page takes 5 s at most").wait_for()
    assert "--max_seconds" in _error(page)

    large = site.clips / "large.mp4"
    large.write_bytes(bytes(1_300_000))
    _upload(page, large)
    page.get_by_text("exceed the maximum allowed size of 1.0 Mb").first.wait_for()

    assert _uploads(site) == set()
    assert str(site.temporary) not in page.locator("body").inner_text()


def test_when_the_visitor_leaves_the_upload_goes(site: Site) -> None:
    with opened(site.port) as page:
        page.get_by_role("tab", name="Your own clip").click()
        _upload(page, write_video(site.clips / "clip.mp4", seconds=1))
        page.get_by_text("clip.mp4 is read").wait_for()
        assert _uploads(site) == {"clip.mp4"}
        page.goto("about:blank")
        for _ in range(200):
            if not _uploads(site):
                break
            page.wait_for_timeout(100)
        assert _uploads(site) == set()


def test_the_command_says_where_the_page_is(site: Site) -> None:
    """And what the browser's own requests tell: the policy, and nothing for other sites."""
    address = f"http://127.0.0.1:{site.port}"
    page = httpx.get(address, trust_env=False)
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert json.loads(httpx.get(f"{address}/gradio_api/info", trust_env=False).text)["named_endpoints"] == {}
    for path in ("/gradio_api/file=/etc/hostname", f"/gradio_api/file={site.run / 'settings.json'}"):
        assert httpx.get(address + path, trust_env=False).status_code == 403
    large = {"files": ("large.mp4", bytes(1_300_000))}
    assert httpx.post(f"{address}/gradio_api/upload", files=large, trust_env=False).status_code == 413
    assert [path for path in site.temporary.rglob("*") if path.is_file() and path.stat().st_size > 2**20] == []
    elsewhere = httpx.post(f"{address}/gradio_api/upload", headers={"Origin": "http://example.org"}, trust_env=False)
    assert elsewhere.status_code == 403
    assert httpx.get(address, headers={"Host": "example.org"}, trust_env=False).status_code == 403
