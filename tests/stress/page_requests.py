"""Requests that attack the page: each has a name, its bytes, and which answers would be right."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

from .page_site import Site
from .raw_http import call, multipart, request

REFUSED = (400, 403, 404, 405, 413, 422)
"""Answers to what the page does not do. 503 is for what comes too often."""
# What a browser would run, a shell, a template or a formatter would read.
TEXTS = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "</p><iframe src=//example.invalid>",
    "${alert(1)}",
    "{{constructor.constructor('alert(1)')()}}",
    "{{7*7}}{%debug%}",
    "[a](javascript:alert(1))![b](http://127.0.0.1:9/c)",
    "$(touch canary); `touch canary`; | touch canary",
    "'; DROP TABLE questions; --",
    "%s%n%x {0.__class__}",
    "$\\frac{1}{$ \\input{/etc/passwd}",
    "../../../etc/passwd",
    "\u202eRTL \u2066 \ufeff \u0000 \x1b[31m \u0007",
    "👩‍👩‍👧‍👦" * 20,
    "\r\nSet-Cookie: a=b\r\n\r\n<html>",
    "?" * 300,
    "a" * 500,
    "a" * 9_999,
    "javascript:alert(document.domain)//",
    "<svg/onload=alert(1)>",
)
_ODD_NAMES = (
    "../../canary.mp4",
    "..\\..\\canary.mp4",
    "/etc/canary.mp4",
    "%2e%2e%2fcanary.mp4",
    "canary\0.mp4",
    ".",
    "..",
    "",
    " ",
    "/",
    "con.mp4",
    "a" * 300 + ".mp4",
    "ä" * 300 + ".mp4",
    "..%c0%afcanary.mp4",
    "\u2215etc\u2215canary.mp4",
    "canary.mp4/",
    "canary.html",
    "canary.svg",
    "state.json",
    "-i.mp4",
    "$(touch canary).mp4",
    "<img src=x onerror=alert(1)>.mp4",
    "\udcff\udcfe.mp4",
    ".htaccess",
    "a\r\nX-Injected: 1.mp4",
    "http://127.0.0.1:9/canary.mp4",
    "concat:a|b.mp4",
)
_HOSTS = (
    "example.invalid",
    "127.0.0.1.example.invalid",
    "example.invalid:{port}",
    "127.0.0.1@example.invalid",
    "[::1",
    "[::1]]:{port}",
    "]",
    "",
    " ",
    "0.0.0.0:{port}",
    "192.168.0.1",
    "169.254.169.254",
    "localhost.",
    "localhost.example.invalid",
    "127.1",
    "2130706433",
    "ｌocalhost",
    "a" * 5000,
    "127.0.0.1:{port}, example.invalid",
    "//example.invalid",
    "%6cocalhost",
    "127.0.0.1:99999999",
    "[fe80::1%25eth0]",
)
# Not https of the same host and port: that is this page, where a proxy ends TLS before it.
_ORIGINS = (
    "http://example.invalid",
    "null",
    "http://127.0.0.1:1",
    "http://localhost",
    "http://127.0.0.1:{port}.example.invalid",
    "http://example.invalid#127.0.0.1:{port}",
    "http://[",
    "file://",
    "chrome-extension://abc",
    "http://127.0.0.1:{port}@example.invalid",
    "",
    "http://\u2024",
)
_UNUSED = (
    "/monitoring", "/monitoring/summary", "/monitoring/key", "/docs", "/redoc", "/openapi.json",
    "/gradio_api/openapi.json", "/gradio_api/dev/reload", "/gradio_api/user", "/gradio_api/token", "/gradio_api/runs",
    "/gradio_api/queue/status", "/gradio_api/deep_link?session_hash=a", "/gradio_api/vibe-code", "/login",
    "/gradio_api/component_server", "/gradio_api/process_recording", "/gradio_api/vibe-edit", "/gradio_api/call/ask",
    "/gradio_api/call/v2/ask", "/gradio_api/api/predict", "/gradio_api/stream/a/b/1/playlist.m3u8", "/logout",
    "/gradio_api/custom_component/a/client/b/c", "/pwa_icon/99999", "/gradio_api/profiling/traces", "/upload",
    "/gradio_api/vibe-starter-queries", "/gradio_api/undo-vibe-edit", "/gradio_api/run-history/buckets", "/mcp",
    "/gradio_api/mcp/sse", "/.git/config", "/.env", "/login/huggingface", "/gradio_api/startup-events/..", "/ws",
)  # fmt: skip
_RANGES = ("bytes=0-1-2", "bytes=²-³", "bytes=-", "bytes=99999999999999999999-", "bytes=5-1", "bytes=0-0,1-1", "x")


class Request(NamedTuple):
    """One request of the attack."""

    name: str
    data: bytes
    right: tuple[int, ...]
    """The answers that are right; none for any below 500."""
    sent: int | None = None
    """So many bytes are sent, then the connection is closed; None for all."""


Family = Callable[[Site, random.Random], Request]


def requests(site: Site, seed: int) -> Iterator[Request]:
    """Requests without end, of each kind in turn."""
    rng = random.Random(seed)
    number = 0
    while True:
        family = _FAMILIES[number % len(_FAMILIES)]
        yield family(site, rng)
        number += 1


def _host(site: Site, rng: random.Random) -> Request:
    host = rng.choice(_HOSTS).format(port=site.port)
    path = rng.choice(("/", "/config", "/gradio_api/info", "/theme.css"))
    return Request(f"host {host:.60}", request("GET", path, site.port, host=host), (400, 403))


def _origin(site: Site, rng: random.Random) -> Request:
    origin = rng.choice(_ORIGINS).format(port=site.port)
    method, path = rng.choice(
        (("GET", "/config"), ("POST", "/gradio_api/upload"), ("POST", "/gradio_api/queue/join"), ("GET", "/"))
    )
    return Request(f"origin {origin}", request(method, path, site.port, {"Origin": origin}), (400, 403))


def _other_site(site: Site, rng: random.Random) -> Request:
    headers = {"Sec-Fetch-Site": rng.choice(("cross-site", "same-site")), "Sec-Fetch-Mode": "no-cors"}
    path = rng.choice(("/", "/config", "/gradio_api/info", "/gradio_api/startup-events"))
    return Request(f"other site {path}", request("GET", path, site.port, headers), (403,))


def _file(site: Site, rng: random.Random) -> Request:
    """A file that may not be served, by each way that files are served, in each spelling."""
    target = str(rng.choice(site.secrets))
    up = "../" * rng.randrange(1, 12)
    inside = site.uploads / "0"
    odd = rng.choice(
        (
            f"{up}{target.lstrip('/')}",
            f"{inside}/{up}{target.lstrip('/')}",
            f"/{target}",
            target.replace("/", "//"),
            target.replace("/", "\\"),
            f"{target}\0",
            f"{target}\0.png",
            f"{target}/.",
            f"file://{target}",
            f"{site.concerts}/videos/../test.json",
            str(site.concerts / "videos" / "test_0.mp4"),
            str(site.uploads),
            f"{site.uploads}/",
            f"http://127.0.0.1:{site.port}/config",
            "https://example.invalid/",
            "HTTP://example.invalid/",
            "//example.invalid/",
        )
    )
    # Half of each as it would be asked for: all of them odd, none would reach what serves files.
    spelled = rng.choice((target, odd))
    encoded = rng.choice((quote(spelled, safe=""), quote(quote(spelled, safe="")), _dots(spelled)))
    encoded = rng.choice((quote(spelled), encoded))
    odd_route = rng.choice(
        (
            "/file=", "/gradio_api/file/", "/file/", "/static/", "/assets/", "/svelte/",
            "/gradio_api/proxy=", "/gradio_api/proxy=http://127.0.0.1/", "/gradio_api/stream/", "/gradio_api/file%3D",
            "/gradio_api//file=", "//gradio_api/file=", "/gradio_api/heartbeat/", "/gradio_api/./file=",
            "/gradio_api/custom_component/", "/gradio_api/FILE=", "/", "/theme.css/../gradio_api/file=",
        )
    )  # fmt: skip
    route = rng.choice(("/gradio_api/file=", odd_route))
    method = rng.choice(("GET", "GET", "HEAD"))
    name = f"{method} {route}{encoded}"
    return Request(name[:160], request(method, f"{route}{encoded}", site.port), (200, 301, 307, 308, *REFUSED))


def _dots(text: str) -> str:
    return quote(text, safe="").replace(".", "%2e")


def _own_file(site: Site, rng: random.Random) -> Request:
    """A file that may be served, asked for oddly."""
    files = sorted(site.uploads.glob("*/*")) or [site.uploads]
    headers = {"Range": rng.choice(_RANGES)}
    path = f"/gradio_api/file={quote(str(rng.choice(files)))}"
    wanted = request("GET", path, site.port, headers)
    return Request(f"range {headers['Range']}", wanted, (200, 206, 403, 416))


def _unused(site: Site, rng: random.Random) -> Request:
    path = rng.choice(_UNUSED)
    method = rng.choice(("GET", "POST", "HEAD"))
    body = rng.choice((b"", b"{}", b'{"session_hash": "a", "component_id": 1, "fn_name": "ls", "data": ["/"]}'))
    made = request(method, path, site.port, {"Content-Type": "application/json"}, body if method == "POST" else b"")
    return Request(f"{method} {path}", made, REFUSED)


def _method(site: Site, rng: random.Random) -> Request:
    method = rng.choice(("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW", "get", "A" * 500))
    path = rng.choice(("/", "/gradio_api/upload", "/gradio_api/queue/join", "*"))
    return Request(f"{method:.20} {path}", request(method, path, site.port), REFUSED)


def _websocket(site: Site, rng: random.Random) -> Request:
    path = rng.choice(("/", "/gradio_api/queue/join", "/ws"))
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    made = request("GET", path, site.port, headers).replace(b"Connection: close\r\n", b"")
    return Request(f"websocket {path}", made, (200, *REFUSED) if path == "/" else REFUSED)


def _body(site: Site, rng: random.Random) -> Request:
    """What is no call at all."""
    path = rng.choice(("/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/cancel", "/gradio_api/reset"))
    deep = rng.choice((1_000, 100_000))
    body = rng.choice(
        (
            b"",
            b"{",
            b"null",
            b"[]",
            b"\xff\xfe{}",
            b"[" * deep + b"]" * deep,
            b'{"a":' * deep + b"1" + b"}" * deep,
            b'{"data": ' + b"9" * 5000 + b"}",
            b'{"data": NaN}',
            b'{"data": "' + b"a" * 300_000 + b'"}',
            json.dumps({"data": [1] * 1000, "fn_index": 0, "session_hash": "a"}).encode(),
            json.dumps({"data": [], "fn_index": {"a": 1}, "session_hash": ["a"]}).encode(),
            b'{"session_hash": "\\ud800", "fn_index": 0, "data": []}',
        )
    )
    kind = rng.choice(("application/json", "text/plain", "application/x-www-form-urlencoded"))
    made = call(path, site.port, body, {"Content-Type": kind})
    return Request(f"{path} {body[:40]!r}", made, (200, *REFUSED) if "reset" in path or "cancel" in path else REFUSED)


def _large(site: Site, rng: random.Random) -> Request:
    """Far more than is read: 100 MB are announced, a little is sent."""
    path = rng.choice(("/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/upload"))
    told = rng.choice(("104857600", "99999999999999999999999", "-1", "1e9", "0x10", "５"))
    headers = {"Content-Length": told, "Content-Type": "multipart/form-data; boundary=boundary"}
    body = b'{"data": ["' + b"a" * 400_000
    return Request(f"{path} of {told} bytes", request("POST", path, site.port, headers, body), (400, 413, 422))


def odd_value(site: Site, rng: random.Random) -> Any:
    """What no field of the page would send."""
    files = [str(path) for path in site.secrets] + [
        str(site.concerts / "videos" / "test_0.mp4"),
        str(site.uploads),
        str(site.uploads / ".." / "secret.txt"),
        f"{site.uploads}/0/../../secret.txt",
        "http://127.0.0.1:9/a.mp4",
        "https://example.invalid/a.mp4",
        "https://cdn.example.invalid/a.mp4",
        "/gradio_api/file=/etc/passwd",
        "file:///etc/passwd",
        "concat:/etc/passwd",
        "",
        "\0",
        "a" * 5000,
        "-",
    ]
    name = rng.choice(files)
    return rng.choice(
        (
            {"path": name, "meta": {"_type": "gradio.FileData"}},
            {"path": name, "url": name, "meta": {"_type": "gradio.FileData"}, "is_stream": True},
            {"video": {"path": name, "meta": {"_type": "gradio.FileData"}}, "subtitles": None},
            [{"path": name, "meta": {"_type": "gradio.FileData"}}],
            {"__type__": "update", "value": name},
            name,
            1e308,
            -1,
            True,
            [[[]]],
            {"a": {"b": {}}},
            rng.choice(TEXTS),
            f"test_0/../{name}",
            "upload",
        )
    )


def _call(site: Site, rng: random.Random) -> Request:
    """A function of the page, or a number that is none, with odd values in some of its places."""
    count = rng.randrange(0, 6)
    data = [rng.choice((None, "", "test_0", odd_value(site, rng))) for _ in range(count)]
    body: dict[str, Any] = {"data": data, "fn_index": rng.choice((*range(16), -1, 999, "0", 1.5, None))}
    body["session_hash"] = rng.choice(("abcdefgh", "a/../b", "", None, "a" * 5000, {"a": 1}, "\u0000"))
    if rng.random() < 0.3:
        body |= {"batched": True, "event_id": "a", "simple_format": True, "trigger_id": rng.choice((1, "1", [1]))}
    path = rng.choice(("/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/run/predict/"))
    return Request(f"{path} {json.dumps(body)[:120]}", call(path, site.port, body), (200, 503, *REFUSED))


def _file_call(site: Site, rng: random.Random) -> Request:
    """A function that takes a file, given one that nobody uploaded, with all else as the page sends it."""
    number, kinds = rng.choice([(n, kinds) for n, kinds in site.functions.items() if "video" in kinds])
    data = [odd_value(site, rng) if kind == "video" else None for kind in kinds]
    body = {"data": data, "fn_index": number, "session_hash": f"s{rng.randrange(10**6)}", "event_data": None}
    path = rng.choice(("/gradio_api/queue/join", "/gradio_api/run/predict"))
    return Request(f"{path} {json.dumps(data)[:120]}", call(path, site.port, body), (*REFUSED, 503))


def _upload(site: Site, rng: random.Random) -> Request:
    """An upload with an odd name, odd content or too much of it."""
    content = rng.choice(
        (
            b"",
            b"hello",
            b"<html><script>alert(1)</script>",
            rng.randbytes(1000),
            site.clip().read_bytes(),
            b"#EXTM3U\n/etc/passwd\n",
            bytes(1_500_000),
        )
    )
    headers, body = multipart([("files", rng.choice(_ODD_NAMES), content)])
    path = rng.choice(("/gradio_api/upload", "/gradio_api/upload?upload_id=a", "/gradio_api/upload?upload_id=../../a"))
    name = f"{path} {body[:120]!r}"
    return Request(name, request("POST", path, site.port, headers, body), (200, 503, *REFUSED))


def _form(site: Site, rng: random.Random) -> Request:
    """A form that is no upload, or none at all."""
    count = rng.choice((50, 1001))
    forms: list[list[tuple[str, str | None, bytes]]] = [
        [("field", None, b"x")],
        [("files", None, b"x")],
        [],
        [("files", f"{number}.mp4", b"%d" % number) for number in range(count)],
        [("a" * 9000, "b", b"c")],
    ]
    headers, body = multipart(rng.choice(forms))
    change = rng.randrange(6)
    if change == 0:
        headers = {"Content-Type": rng.choice(("multipart/form-data", "multipart/form-data; boundary=", "text/plain"))}
    elif change == 1:
        body = body[: rng.randrange(len(body))]
    elif change == 2:
        body = body.replace(b"name=", b"nome=")
    elif change == 3:
        headers |= {"Transfer-Encoding": "chunked"}
        body = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    path = rng.choice(("/gradio_api/upload", "/gradio_api/upload?upload_id=b"))
    return Request(f"{path} {change} {body[:80]!r}", request("POST", path, site.port, headers, body), ())


def _broken_off(site: Site, rng: random.Random) -> Request:
    headers, body = multipart([("files", "canary.mp4", rng.randbytes(200_000))])
    data = request("POST", "/gradio_api/upload", site.port, headers, body)
    return Request("upload broken off", data, (), sent=rng.randrange(100, len(data)))


def _noise(site: Site, rng: random.Random) -> Request:
    """What is hardly HTTP."""
    data = rng.choice(
        (
            rng.randbytes(500),
            b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * 100_000 + b"\r\n\r\n",
            b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            f"GET http://example.invalid/ HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode(),
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: example.invalid\r\nConnection: close\r\n\r\n",
            b"GET / HTTP/0.9\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        )
    )
    return Request(f"noise {data[:40]!r}", data, (), sent=len(data))


_FAMILIES: tuple[Family, ...] = (
    _file, _call, _upload, _file_call, _host, _body, _file, _call, _form, _origin,
    _own_file, _unused, _file_call, _large, _broken_off, _method, _websocket, _noise, _other_site,
)  # fmt: skip
