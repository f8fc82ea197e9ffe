"""The page to ask on, attacked over HTTP while it really runs."""

from __future__ import annotations

import itertools
import json
import random
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

from tests.stress.attack import Attack, Defect, Outcome, Run
from tests.stress.page_requests import TEXTS, Request, requests
from tests.stress.page_site import SECRET, Site, page_site
from tests.stress.raw_http import broken_off, call, exchange, multipart, request

# So many requests are under way at once, and after so many a question goes all the way to the model.
_AT_ONCE, _A_QUESTION = 4, 50
_ANSWER_S = 300.0
"""A slow machine answers a question within this."""
_TRACES = ("Traceback (most recent", "site-packages", "root:x:0", SECRET)
_TAGS, _ATTRIBUTES = {"p", "div", "img"}, {"class", "role", "src", "alt"}


def page(run: Run) -> Outcome:
    """Requests of every kind; after them the page answers, and nothing of them is left."""
    failures: list[str] = []
    done = 0
    with page_site(run.folder) as site, ThreadPoolExecutor(_AT_ONCE) as threads:
        stream, secrets = requests(site, run.seed), _contents(site)
        largest = 0
        while done < run.amount:
            batch = list(itertools.islice(stream, min(_A_QUESTION, run.amount - done)))
            for found in threads.map(lambda one: _sent(site, one, secrets), batch):
                failures += found
            done += len(batch)
            failures += _asked(site, TEXTS[done // _A_QUESTION % len(TEXTS)], done)
            largest = max(largest, _size(site.uploads))
            run.tell(done)
        largest = max(largest, _flooded(site, failures))
        failures += _still_there(site)
    failures += _left(site)
    outcome = {"most bytes of uploads at once": largest}
    return Outcome(done + -(-done // _A_QUESTION), tuple(failures), outcome)


def _contents(site: Site) -> frozenset[bytes]:
    """What is in the secrets that are real files."""
    return frozenset(path.read_bytes() for path in site.secrets if not path.is_relative_to("/proc"))


def _sent(site: Site, one: Request, secrets: frozenset[bytes]) -> list[str]:
    if one.sent is not None:
        broken_off(site.port, one.data, one.sent)
        return []
    try:
        answer = exchange(site.port, one.data, stream=b"/heartbeat/" in one.data or b"/queue/data" in one.data)
    except TimeoutError:
        return [f"{one.name}: no answer"]
    found = []
    if answer.status >= 500 and not (answer.status == 503 and (not one.right or 503 in one.right)):
        found.append(f"{one.name}: {answer.status} {answer.body[:200]!r}")
    elif one.right and answer.status and answer.status not in one.right:
        found.append(f"{one.name}: {answer.status}, not one of {one.right}")
    if answer.body in secrets:
        found.append(f"{one.name}: the answer is a file that nobody may read")
    text = answer.head + answer.body.decode("utf-8", "replace")
    found += [f"{one.name}: the answer holds {trace}" for trace in (*_TRACES, str(site.run)) if trace in text]
    return found


def _asked(site: Site, text: str, number: int) -> list[str]:
    """Asks a question as the page does, and reads the answer: it is text, whatever was asked."""
    session = f"session{number}"
    kinds = site.functions[site.asks]
    data = [text if kind == "textbox" else "test_0" if kind == "dropdown" else None for kind in kinds]
    body = {"data": data, "fn_index": site.asks, "session_hash": session}
    joined = exchange(site.port, call("/gradio_api/queue/join", site.port, body))
    if joined.status != 200:
        return [f"question {text[:40]!r}: {joined.status}"]
    wanted = request("GET", f"/gradio_api/queue/data?session_hash={session}", site.port)
    told = exchange(site.port, wanted, patience=_ANSWER_S).body.decode("utf-8", "replace")
    found = re.search(r'data: (\{"msg":"process_completed".*\})', told)
    completed = json.loads(found[1]) if found else {}
    if not completed.get("success"):
        return [f"question {text[:40]!r}: no answer, {told[-200:]!r}"]
    message, _, picture = completed["output"]["data"]
    return [f"question {text[:40]!r}: {fault}" for html in (message, picture) for fault in _Judge.faults(html or "")]


class _Judge(HTMLParser):
    """Whether HTML holds no more than paragraphs and a picture of our own."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One element."""
        names = {name for name, _ in attrs}
        source = dict(attrs).get("src") or "data:image/png;base64,"
        if tag not in _TAGS or names - _ATTRIBUTES or not source.startswith("data:image/png;base64,"):
            self.found.append(f"its answer holds <{tag} {attrs}>"[:200])

    @classmethod
    def faults(cls, html: str) -> list[str]:
        """What is wrong with it."""
        judge = cls()
        judge.feed(html)
        judge.close()
        return judge.found


def _size(folder: Path) -> int:
    sizes = []
    for path in folder.rglob("*"):
        try:
            sizes.append(path.stat().st_size if path.is_file() else 0)
        except FileNotFoundError:
            continue
    return sum(sizes)


def _flooded(site: Site, failures: list[str]) -> int:
    """Uploads without end are refused before they fill the disk."""
    largest, limit = 0, 16 * 2**20
    # The page's own copies of its concerts.
    own = sum(path.stat().st_size for path in (site.concerts / "videos").iterdir())
    for number in range(40):
        headers, body = multipart([("files", "flood.mp4", random.Random(number).randbytes(1_000_000))])
        answer = exchange(site.port, request("POST", "/gradio_api/upload", site.port, headers, body))
        largest = max(largest, _size(site.uploads))
        if answer.status == 503:
            break
    else:
        failures.append("40 uploads of 1 MB were taken")
    if largest > limit + own:
        failures.append(f"uploads took {largest} bytes, more than {limit}")
    return largest


def _still_there(site: Site) -> Iterator[str]:
    if site.process.poll() is not None:
        yield f"the server ended: {site.log()[-500:]}"
        return
    answer = exchange(site.port, request("GET", "/", site.port))
    if answer.status != 200:
        yield f"afterwards the page is answered by {answer.status}"
    video = quote(str(next(site.uploads.glob("*/test_0.mp4"), "none")))
    if exchange(site.port, request("GET", f"/gradio_api/file={video}", site.port)).status != 200:
        yield "afterwards the first concert is gone"


def _left(site: Site) -> Iterator[str]:
    """What is there when the server has stopped."""
    end = time.monotonic() + 5
    while list(site.temporary.glob("gaussian-moe-*")) and time.monotonic() < end:
        time.sleep(0.1)
    for path in site.temporary.iterdir():
        if path.name != "secret.txt":
            yield f"left behind: {path.name}"
    for name in site.changed():
        yield f"changed: {name}"
    for told in site.watched():
        yield f"outside its folder the server {told}"
    if "Traceback" in site.log():
        where = site.log().index("Traceback")
        yield f"the server told a traceback: {site.log()[where : where + 1500]}"
    shutil.rmtree(site.folder, ignore_errors=True)


ATTACKS = (
    Attack(
        name="page",
        area="Security",
        tried="requests to the running page: odd hosts, origins, paths, files, calls, bodies, uploads and questions",
        holds="an answer below 500 that tells no secret; no file, address or program outside is touched; "
        "uploads stay within their bound; afterwards the page answers, and stopped it leaves nothing",
        run=page,
        full=600,
        sample=50,
        unit="requests",
        defects=(
            Defect(
                "a request could have the page fetch a file of any size from any public address",
                "tests/examples/test_page_calls.py::test_nothing_else_does",
                "no fetching of addresses",
            ),
            Defect(
                "doors of Gradio that the page has no use for, such as that for recordings, stood open",
                "tests/examples/test_guard.py::test_what_the_page_has_no_use_for_is_refused",
                "no recordings",
            ),
            Defect(
                "uploads could fill the disk: each file had a limit, all of them together had none",
                "tests/examples/test_guard.py::test_uploads_are_refused_before_they_fill_the_disk",
                "Uploads have a limit together and one for each",
            ),
            Defect(
                "an upload that was broken off stayed on the disk until the page was stopped",
                "tests/examples/test_serve.py::test_what_a_broken_off_upload_leaves_is_removed",
                "what a broken-off upload leaves is removed",
            ),
            Defect(
                "a visitor could remove the page's own copy of a concert for all others",
                "tests/examples/test_serve.py::test_no_visitor_removes_what_is_not_an_upload",
                "no visitor removes the page's own files",
            ),
            Defect(
                "a question had no longest length, and was drawn into the picture however long it was",
                "tests/examples/test_serve.py::test_a_question_without_end_is_told",
                "a question has a longest length",
            ),
            Defect(
                "a Host header with a bracket that was not closed ended in a traceback",
                "tests/examples/test_guard.py::test_another_name_is_refused",
                "odd Host and Range headers are refused",
            ),
            Defect(
                "a Range header of two ranges ended in a traceback",
                "tests/examples/test_guard.py::test_headers_that_the_page_would_stumble_over_are_left_out",
                "odd Host and Range headers are refused",
            ),
            Defect(
                "another site's page could load this one's files as its pictures",
                "tests/examples/test_guard.py::test_pictures_in_other_pages_are_refused_and_links_are_not",
                "other sites cannot load its files",
            ),
        ),
    ),
)
