"""JSON that may come from anyone: its value, or one kind of error, whatever it holds."""

from __future__ import annotations

import json
import re
from typing import Any

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def decoded(text: str | bytes) -> Any:
    r"""The value of a JSON text; bytes are UTF-8, with or without a mark at their start.

    Raises:
        ValueError: it is no JSON (a `json.JSONDecodeError`) or not UTF-8, nested too deeply, or holds a number of
            thousands of digits or text that no file can hold.

    >>> decoded(b'{"a": [1]}')
    {'a': [1]}
    >>> decoded('"\\ud800"')
    Traceback (most recent call last):
    ValueError: it holds half of a surrogate pair, which is no text
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    try:
        value = json.loads(text)
        # Pairs are one letter; of halves, nothing can be written or printed.
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError:
        raise
    except UnicodeEncodeError:
        raise ValueError("it holds half of a surrogate pair, which is no text") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        # Python's own limit, whose message speaks of interpreters.
        raise ValueError("it holds a number of too many digits") from None
    return value
