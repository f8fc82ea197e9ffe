"""The guard before the page lets through what the page asks for, and tells everything else a word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from examples.avqa.guard import Guard, Page
from examples.avqa.uploads import MB, Limits, Uploads

HOST = {"Host": "127.0.0.1:7860"}
CALL = {"data": ["a"], "fn_index": 0, "session_hash": "a"}


async def _echo(request: Request) -> Response:
    """What reached the application."""
    if "fail" in request.query_params:
        raise RuntimeError("secret")
    body = await request.body()
    return PlainTextResponse(json.dumps([request.url.path, dict(request.headers), len(body)]))


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    (tmp_path / "0123").mkdir()
    (tmp_path / "0123" / "clip.mp4").write_bytes(b"clip")
    return Uploads(tmp_path, 3 * MB)


@pytest.fixture
def client(uploads: Uploads) -> Iterator[TestClient]:
    page = Page({"localhost", "127.0.0.1", "::1"}, Limits(1, 5), uploads, {0: ["textbox"]})
    routes = [Route("/{path:path}", _echo, methods=["GET", "POST", "PUT"])]
    with TestClient(Starlette(routes=routes, middleware=[Middleware(Guard, page=page)]), headers=HOST) as made:
        yield made


@pytest.mark.parametrize(
    "path",
    ["/", "/config", "/theme.css", "/assets/a/b.js", "/gradio_api/info", "/gradio_api/heartbeat/abc", "/static/x.svg"],
)
def test_the_page_is_let_through_with_the_policy(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file/https://example.invalid/a",
        "/gradio_api/file=https://example.invalid/a",
        "/gradio_api/proxy=http://127.0.0.1/",
        "/gradio_api/component_server",
        "/gradio_api/process_recording",
        "/gradio_api/deep_link",
        "/gradio_api/vibe-code",
        "/monitoring",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/heartbeat/../../x",
        "/nothing",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
def test_what_the_page_has_no_use_for_is_refused(client: TestClient, method: str, path: str) -> None:
    assert client.request(method, path).status_code in (403, 404, 405)


def test_only_files_of_its_own_folder_are_served(client: TestClient, uploads: Uploads, tmp_path: Path) -> None:
    assert client.get(f"/gradio_api/file={uploads.folder}/0123/clip.mp4").status_code == 200
    (tmp_path / "0123" / "link.mp4").symlink_to("/etc/hostname")
    for name in ("0123", "", "0123/link.mp4", "0123/../../secret", "other.mp4"):
        assert client.get(f"/gradio_api/file={uploads.folder}/{name}").status_code == 403


@pytest.mark.parametrize(
    "host", ["example.invalid", "[::1", "[::1]]:80", "a@127.0.0.1", "127.0.0.1, b", "", "127.0.0.1:x", "localhost."]
)
def test_another_name_is_refused(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST:1", "[::1]:7860"])
def test_its_own_names_are_not(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://example.invalid", "null", "http://[", "", "http://127.0.0.1:1"])
def test_other_pages_are_refused(client: TestClient, origin: str) -> None:
    assert client.get("/", headers={"Origin": origin}).status_code == 403
    assert client.get("/", headers={"Origin": "http://127.0.0.1:7860"}).status_code == 200


def test_pictures_in_other_pages_are_refused_and_links_are_not(client: TestClient) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert client.get("/config", headers=headers).status_code == 403
    assert client.get("/", headers=headers | {"Sec-Fetch-Mode": "navigate"}).status_code == 200
    assert client.get("/config", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


@pytest.mark.parametrize("given", ["bytes=0-1-2", "bytes=²-³", "bytes=-", "bytes=" + "9" * 30 + "-"])
def test_headers_that_the_page_would_stumble_over_are_left_out(client: TestClient, given: str) -> None:
    headers = {b"Range": given.encode(), b"X-Forwarded-Host": b"b", b"X-Gradio-Server": b"c"}
    seen = client.get("/", headers=headers).json()[1]
    assert not {"range", "x-forwarded-host", "x-gradio-server"} & seen.keys()
    assert client.get("/", headers={"Range": "bytes=0-"}).json()[1]["range"] == "bytes=0-"


def test_a_call_goes_through_as_it_was_checked(client: TestClient) -> None:
    answer = client.post("/gradio_api/queue/join", json=CALL | {"batched": True}).json()
    assert answer[1]["content-length"] == str(answer[2])
    assert client.post("/gradio_api/queue/join", json=CALL | {"fn_index": 1}).status_code == 400
    assert client.post("/gradio_api/run/predict", content=b"[" * 100_000).status_code == 400
    assert client.post("/gradio_api/queue/join", content=bytes(2**18 + 1)).status_code == 413
    assert (
        client.post("/gradio_api/cancel", json={"session_hash": "a", "event_id": "b", "fn_index": 0}).status_code == 200
    )


def test_an_upload_has_its_size(client: TestClient, tmp_path: Path) -> None:
    assert client.post("/gradio_api/upload", content=bytes(MB)).status_code == 200
    assert client.post("/gradio_api/upload", content=bytes(2 * MB)).status_code == 413

    def untold() -> Iterator[bytes]:
        for _ in range(20):
            yield bytes(MB // 10)

    (tmp_path / "tmpabcdefgh").write_bytes(b"half of it")
    assert client.post("/gradio_api/upload", content=untold()).status_code == 413
    assert not (tmp_path / "tmpabcdefgh").exists()


def test_uploads_are_refused_before_they_fill_the_disk(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "0123" / "clip.mp4").write_bytes(bytes(2 * MB + 1))
    answer = client.post("/gradio_api/upload", content=bytes(MB))
    assert answer.status_code == 503
    assert "too many uploads" in answer.text


def test_what_the_application_cannot_read_is_told_without_its_words(
    client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = client.get("/?fail=1")
    assert (answer.status_code, answer.text) == (400, "this request cannot be read")
    assert capsys.readouterr().err == "refused: GET '/' (RuntimeError)\n"


def test_a_websocket_is_closed(client: TestClient) -> None:
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/ws"):
        pass


def test_too_many_at_once_are_told(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.avqa.guard._MOST_OPEN", 0)
    answer: Any = client.get("/")
    assert (answer.status_code, answer.text) == (503, "too many requests at once")
