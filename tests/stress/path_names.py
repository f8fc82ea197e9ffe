"""Names that try to be paths to somewhere else."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from urllib.parse import quote

_UP = ("..", ".", "...", "....", "..;", ".. ", " ..", "..\0", "․․", "．．", "%2e%2e", "..%00", "~", "~root", "$HOME")
_SEPARATORS = (
    "/",
    "\\",
    "//",
    "\\\\",
    "/./",
    "\u2215",
    "\u2044",
    "\uff0f",
    "\u29f8",
    "\uff3c",
    "%2f",
    "%5c",
    ":",
    "\0",
    "\n",
)
# None that is there: where a name is not refused, nothing of this machine is lost.
_TARGETS = ("canary", "canary.npy", "nowhere", "nowhere/canary", "nowhere/canary.npy")
_STARTS = (
    "",
    "/",
    "//",
    "\\",
    "C:\\",
    "C:",
    "\\\\server\\share\\",
    "file://",
    "file:///",
    "/proc/self/root/",
    "~/",
    "-",
)
_PLAIN = (
    "con", "nul", "COM1", "aux.txt", "prn.", "clip.", "clip ", " clip", "clip..", "clip\t", "clip\n", "clip\r\n", "-rf",
    "--help", "*", "?", "[a]", "{a}", "$(id)", "`id`", "a;b", "a|b", "a&b", "'", '"', "<a>", "%s", "%n", "\u202egpm",
    "é", "e\u0301", "ﬁ", "İ", "ß", "\ufeff", "\u200b", "\ud800", "\udcff", "\x7f", "\x1b[31m", "", " ", ".", "..",
    "...", ".hidden", "index", "checked.json", "questions", "features.bin", "store.json", "packing.jsonl", "clip.npy",
    "clip.mp4", "/", "\\", "\0", "a" * 100, "a" * 215, "a" * 216, "a" * 255, "a" * 256, "a" * 5000,
    "ä" * 107, "ä" * 108, "𝒜" * 60,
)  # fmt: skip


def names(seed: int, upward: str) -> Iterator[str]:
    """Names without end: odd ones, as long as there are any, and by turns such as are made of pieces.

    Args:
        seed: of the pieces.
        upward: a file outside that each may try to reach.
    """
    rng = random.Random(seed)
    for number in itertools.count():
        yield from _PLAIN[number : number + 1]
        ups = rng.randrange(0, 7)
        # Half of the time what leads upward wherever nothing is checked.
        up, separator = rng.choice((_UP[0], rng.choice(_UP))), rng.choice((_SEPARATORS[0], rng.choice(_SEPARATORS)))
        start = rng.choice((_STARTS[0], rng.choice(_STARTS)))
        target = rng.choice((*_TARGETS, upward.lstrip("/"), upward))
        parts = [start, *([f"{up}{separator}"] * ups), target.replace("/", separator)]
        if rng.random() < 0.3:
            parts.insert(1, f"clip{separator}")
        name = "".join(parts)
        if rng.random() < 0.15:
            name = quote(name, safe="", errors="replace") if rng.random() < 0.5 else name.upper()
        if rng.random() < 0.1:
            name += rng.choice(("\0.npy", ".", " ", "/", "\\", "a" * 250, ".npy"))
        yield name
