"""Long lists in messages: the first few, and how many more there are."""

from __future__ import annotations

from collections.abc import Sequence


def first_few(texts: Sequence[str], shown: int = 5) -> list[str]:
    """The first `shown` texts; then, where there are more, how many.

    >>> first_few(["a", "b", "c", "d"], 2)
    ['a', 'b', '... and 2 more']
    """
    more = [f"... and {len(texts) - shown} more"] if len(texts) > shown else []
    return [*texts[:shown], *more]
