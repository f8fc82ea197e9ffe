"""Requests as bytes: what no client library would send, too."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

PATIENCE_S = 120.0
_STREAM_S = 1.0
"""An answer that does not end by itself is read for so long."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    """0 where the connection was closed without an answer."""
    head: str
    body: bytes


def request(
    method: str,
    path: str,
    port: int,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    host: str | None = None,
) -> bytes:
    """One request; `headers` come last, and may repeat or contradict what a client would say."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host if host is not None else f'127.0.0.1:{port}'}"]
    lines += ["Connection: close"]
    given = {name.lower() for name in headers or {}}
    if (body or method == "POST") and not given & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def call(path: str, port: int, value: Any, headers: Mapping[str, str] | None = None) -> bytes:
    """A request whose body is JSON."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return request("POST", path, port, {"Content-Type": "application/json", **(headers or {})}, body)


def exchange(port: int, data: bytes, stream: bool = False, patience: float = PATIENCE_S) -> Answer:
    """Sends bytes and reads what comes back.

    Raises:
        TimeoutError: nothing came within `patience` seconds.
    """
    received = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:
        # Refused before all of it was sent: the answer may still be there.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        end = time.monotonic() + (_STREAM_S if stream else patience)
        while True:
            left = end - time.monotonic()
            if left <= 0:
                break
            connection.settimeout(left)
            try:
                part = connection.recv(2**16)
            except TimeoutError:
                if stream or received:
                    break
                raise
            except ConnectionResetError:
                break
            if not part:
                break
            received += part
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    status = int(words[1]) if len(words) > 1 and words[1][:3].isdigit() else 0
    return Answer(status, head.decode("latin-1"), body)


def multipart(parts: list[tuple[str, str | None, bytes]], boundary: str = "boundary") -> tuple[dict[str, str], bytes]:
    """Headers and body of an upload: each part a field's name, a file's name or None, and its bytes."""
    body = bytearray()
    for field, name, data in parts:
        file = "" if name is None else f'; filename="{name}"'
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"{file}\r\n\r\n'
        body += head.encode("utf-8", "surrogateescape") + data + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}, bytes(body)


def broken_off(port: int, data: bytes, count: int) -> None:
    """Sends the first `count` bytes, and leaves."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(data[:count])
        time.sleep(0.05)
