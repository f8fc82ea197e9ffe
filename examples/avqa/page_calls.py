"""What a request may ask the page to do: the calls that the page itself makes, with values of their kinds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .json_text import decoded

LONGEST_BODY = 2**18
"""Bytes of a call, which holds no more than a question and the name of a file."""
LONGEST_TEXT = 10_000
"""Letters of one value: further than any question, whose own limit the visitor is told."""
_SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")


class CallError(Exception):
    """A call that the page does not make."""


def checked_call(body: bytes, calls: Mapping[int, Sequence[str]], uploaded: Callable[[str], bool]) -> bytes:
    """A call of the page's functions with nothing in it but what they take.

    Args:
        body: the request's, JSON.
        calls: the kinds of each function's inputs: "state", "video", or any other for a text.
        uploaded: whether a path is that of an upload.

    Raises:
        CallError: the call is none of these.
    """
    call = _object(body)
    session, number, values = call.get("session_hash"), call.get("fn_index"), call.get("data")
    if not isinstance(session, str) or not _SESSION.fullmatch(session):
        raise CallError("session_hash must be letters and digits")
    if type(number) is not int or number not in calls:
        raise CallError("fn_index must be the number of a function")
    trigger = call.get("trigger_id")
    if trigger is not None and type(trigger) is not int:
        raise CallError("trigger_id must be a number")
    kinds = calls[number]
    if not isinstance(values, list) or len(values) != len(kinds):
        raise CallError(f"data must be a list of {len(kinds)}")
    data = [_value(value, kind, uploaded) for value, kind in zip(values, kinds, strict=True)]
    plain = {"data": data, "event_data": None, "fn_index": number, "trigger_id": trigger, "session_hash": session}
    return json.dumps(plain).encode()


def checked_end(body: bytes) -> bytes:
    """A message that a call is no longer wanted.

    Raises:
        CallError: it is none.
    """
    message = _object(body)
    kept = {name: message.get(name) for name in ("session_hash", "event_id")}
    if not all(isinstance(value, str) and _SESSION.fullmatch(value) for value in kept.values() if value is not None):
        raise CallError("session_hash and event_id must be letters and digits")
    if type(message.get("fn_index", 0)) is not int:
        raise CallError("fn_index must be a number")
    kept["fn_index"] = message.get("fn_index")
    return json.dumps({name: value for name, value in kept.items() if value is not None}).encode()


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = decoded(body)
    except ValueError:
        raise CallError("the body is not JSON") from None
    if not isinstance(value, dict):
        raise CallError("the body must be a JSON object")
    return value


def _value(value: Any, kind: str, uploaded: Callable[[str], bool]) -> Any:
    if value is None:
        return None
    if kind == "state":
        raise CallError("the page's state is its own")
    if kind == "video":
        path = value.get("path") if isinstance(value, dict) else None
        if not isinstance(path, str) or not uploaded(path):
            raise CallError("a file must be an upload")
        return {"path": path, "meta": {"_type": "gradio.FileData"}}
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise CallError(f"a text must have at most {LONGEST_TEXT} letters")
    return value
