"""What a request may ask the page to do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from examples.avqa.page_calls import LONGEST_TEXT, CallError, checked_call, checked_end

CALLS = {0: ["dropdown"], 4: ["state", "dropdown", "video", "textbox"]}
GOOD: dict[str, Any] = {
    "data": [None, "test_0", {"path": "/page/0123/clip.mp4"}, "How many?"],
    "fn_index": 4,
    "session_hash": "abc123",
    "trigger_id": 7,
}


def _checked(call: Any) -> dict[str, Any]:
    body = call if isinstance(call, bytes) else json.dumps(call).encode()
    plain: dict[str, Any] = json.loads(checked_call(body, CALLS, lambda path: path.startswith("/page/")))
    return plain


def _with_data(place: int, value: Any) -> dict[str, Any]:
    data = list(GOOD["data"])
    data[place] = value
    return GOOD | {"data": data}


def test_what_the_page_sends_goes_through() -> None:
    plain = _checked(GOOD | {"event_data": {"a": 1}, "batched": True, "simple_format": True, "oauth_token": "a"})
    file = {"path": "/page/0123/clip.mp4", "meta": {"_type": "gradio.FileData"}}
    assert plain == GOOD | {"data": [None, "test_0", file, "How many?"], "event_data": None}


def test_of_a_file_nothing_goes_through_but_its_path() -> None:
    file = {"path": "/page/0123/clip.mp4", "url": "http://example.invalid/", "is_stream": True, "orig_name": "../a"}
    assert _checked(_with_data(2, file))["data"][2].keys() == {"path", "meta"}


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a":' * 100_000, "not JSON"),
        ([], "a JSON object"),
        (GOOD | {"session_hash": None}, "session_hash"),
        (GOOD | {"session_hash": "../a"}, "session_hash"),
        (GOOD | {"session_hash": "a" * 65}, "session_hash"),
        (GOOD | {"fn_index": 1}, "fn_index"),
        (GOOD | {"fn_index": True}, "fn_index"),
        (GOOD | {"fn_index": "4"}, "fn_index"),
        (GOOD | {"fn_index": {}}, "fn_index"),
        (GOOD | {"trigger_id": "7"}, "trigger_id"),
        (GOOD | {"data": "abcd"}, "data must be a list of 4"),
        (GOOD | {"data": []}, "data must be a list of 4"),
        (_with_data(0, "upload"), "its own"),
        (_with_data(1, 5), "a text"),
        (_with_data(1, {"path": "/page/0123/clip.mp4"}), "a text"),
        (_with_data(3, "a" * (LONGEST_TEXT + 1)), "at most"),
        (_with_data(3, "\ud800"), "not JSON"),
        (_with_data(2, "/page/0123/clip.mp4"), "must be an upload"),
        (_with_data(2, {"path": "/etc/passwd"}), "must be an upload"),
        (_with_data(2, {"path": "https://example.invalid/a.mp4"}), "must be an upload"),
        (_with_data(2, {"path": ["/page/0123/clip.mp4"]}), "must be an upload"),
        (_with_data(2, [{"path": "/page/0123/clip.mp4"}]), "must be an upload"),
    ],
)
def test_nothing_else_does(call: Any, told: str) -> None:
    with pytest.raises(CallError, match=told):
        _checked(call)


def test_a_call_is_ended_by_its_own_names() -> None:
    ended = json.loads(checked_end(b'{"session_hash": "a", "event_id": "b", "fn_index": 3, "other": []}'))
    assert ended == {"session_hash": "a", "event_id": "b", "fn_index": 3}
    for body in (b"[]", b'{"session_hash": {}}', b'{"event_id": "../a"}', b'{"fn_index": "3"}'):
        with pytest.raises(CallError):
            checked_end(body)
