"""What stands before the page: it lets through what the page itself asks for, and nothing else."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .page_calls import LONGEST_BODY, CallError, checked_call, checked_end
from .uploads import Limits, Uploads

# The page's own scripts and styles are partly written into it, and its players read blobs.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self' blob: data:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_API = "/gradio_api"
_FILE = f"{_API}/file="
_READ = re.compile(
    rf"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)|/(assets|static|svelte)/.+|{_FILE}.+"
    rf"|{_API}/(info|app_id|theme\.css|startup-events|queue/data|upload_progress|heartbeat/\w+)"
)
"""What may be asked for: the page, what it is made of, files of its folder, and word of what is under way."""
_CALLS = re.compile(rf"{_API}/(queue/join|run/predict)/?")
_ENDS = re.compile(rf"{_API}/(reset|cancel)/?")
_UPLOAD = f"{_API}/upload"
_RANGE = re.compile(r"bytes=(?:[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})")
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::[0-9]{1,5})?")
"""An address or a name, and a port."""
_MULTIPART = 2**16
"""Bytes that an upload may have beside those of its file."""
_MOST_OPEN = 128
"""Requests that are answered at once."""
# A proxy's word on where the page is; this page stands behind none.
_DROPPED = re.compile(rb"x-forwarded-.*|x-gradio-.*|forwarded|x-real-ip|x-direct-url")


@dataclass(frozen=True)
class Page:
    """What is guarded, beside the application itself.

    Args:
        hosts: names under which the page may be asked for, so that no other name can be pointed at this machine; None
            for any.
        limits: of uploads.
        uploads: the files that visitors sent.
        calls: the kinds of the inputs of each function that may be called.
    """

    hosts: Collection[str] | None
    limits: Limits
    uploads: Uploads
    calls: Mapping[int, Sequence[str]]


class _RefusedError(Exception):
    """A request that is not answered: its status, and why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Guard:
    """Refuses requests that the page itself does not make, and sends the policy with every answer.

    Args:
        app: what is guarded.
        page: what it may be asked.
    """

    def __init__(self, app: ASGIApp, page: Page) -> None:
        self._app, self._page = app, page
        self._open = 0
        self._arriving: dict[int, int] = {}
        """Bytes that each upload under way may bring, by its number."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            # Before it is accepted, a closed WebSocket is a 403.
            await send({"type": "websocket.close", "code": 1008})
            return
        started = False

        async def with_policy(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = POLICY
                headers["Referrer-Policy"] = "no-referrer"
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
            await send(message)

        self._open += 1
        try:
            await self._answer(scope, receive, with_policy)
        except _RefusedError as refused:
            if not started:
                await PlainTextResponse(refused.reason, refused.status)(scope, receive, with_policy)
        # What the application raises at a request that it cannot read is of many kinds.
        except Exception as error:
            if started:
                raise
            print(f"refused: {scope['method']} {scope['path']!r:.100} ({type(error).__name__})", file=sys.stderr)
            await PlainTextResponse("this request cannot be read", 400)(scope, receive, with_policy)
        finally:
            self._open -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        self._check_sender(headers)
        path, method = scope["path"], scope["method"]
        kept = [(name, value) for name, value in scope["headers"] if not _DROPPED.fullmatch(name)]
        if (wanted := headers.get("range")) and not _RANGE.fullmatch(wanted):
            kept = [(name, value) for name, value in kept if name != b"range"]
        scope = {**scope, "headers": kept}
        if method in ("GET", "HEAD"):
            if not _READ.fullmatch(path):
                raise _RefusedError(404, "there is no such page")
            if path.startswith(_FILE) and not self._page.uploads.contains(path.removeprefix(_FILE)):
                raise _RefusedError(403, "only files of this page are served")
            await self._app(scope, receive, send)
        elif method == "POST" and path == _UPLOAD:
            await self._upload(scope, headers, receive, send)
        elif method == "POST" and _CALLS.fullmatch(path):
            await self._call(
                scope, receive, send, lambda body: checked_call(body, self._page.calls, self._page.uploads.contains)
            )
        elif method == "POST" and _ENDS.fullmatch(path):
            await self._call(scope, receive, send, checked_end)
        else:
            raise _RefusedError(405 if _READ.fullmatch(path) else 404, "there is no such page")

    def _check_sender(self, headers: Headers) -> None:
        host, origin = headers.get("host", ""), headers.get("origin")
        hosts, named = self._page.hosts, _HOST.fullmatch(host)
        if named is None or (hosts is not None and (named[1] or named[2]).lower() not in hosts):
            raise _RefusedError(403, "this page is not served under that name")
        if origin is not None and (_netloc(origin) or "?") != host:
            raise _RefusedError(403, "requests from other pages are not answered")
        # Browsers tell it of requests that have no origin, too: a picture of this page in another one.
        site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode")
        if site not in ("none", "same-origin") and mode != "navigate":
            raise _RefusedError(403, "requests from other pages are not answered")
        if self._open > _MOST_OPEN:
            raise _RefusedError(503, "too many requests at once")

    async def _call(self, scope: Scope, receive: Receive, send: Send, checked: Callable[[bytes], bytes]) -> None:
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > LONGEST_BODY:
                raise _RefusedError(413, f"a call has at most {LONGEST_BODY} bytes")
        try:
            plain = checked(bytes(body))
        except CallError as error:
            raise _RefusedError(400, str(error)) from None
        own = {b"content-type": b"application/json", b"content-length": str(len(plain)).encode()}
        kept = [(name, value) for name, value in scope["headers"] if name not in own]
        given = False

        async def replayed() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": plain, "more_body": False}

        await self._app({**scope, "headers": [*kept, *own.items()]}, replayed, send)

    async def _upload(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        uploads, most = self._page.uploads, self._page.limits.bytes + _MULTIPART
        told = headers.get("content-length", "")
        size = int(told) if told.isascii() and told.isdigit() else most
        too_large = _RefusedError(413, f"an upload has at most {self._page.limits.megabytes} MB")
        if size > most:
            raise too_large
        number = id(scope)
        self._arriving[number] = size
        try:
            if not uploads.room(sum(self._arriving.values())):
                raise _RefusedError(503, "there are too many uploads on this page; try again later")
            count = 0

            async def counted() -> Message:
                nonlocal count
                message = await receive()
                count += len(message.get("body", b""))
                if count > most:
                    raise too_large
                return message

            await self._app(scope, counted, send)
        finally:
            del self._arriving[number]
            if not self._arriving:
                uploads.sweep()


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    # A bracket that is not closed.
    except ValueError:
        return None
