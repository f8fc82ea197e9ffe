"""What a Markdown page holds that can be run or checked: its fenced blocks, with the marks in comments above them.

A mark is an HTML comment directly above a block: `<!-- not run: REASON -->` leaves it out, `<!-- exits: 1 -->` says
that its command fails with that status. `<!-- setup` on a line of its own, Python under it and `-->` is a block that
the reader does not see.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sybil import Document, Region
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

INFO = re.compile(r"[ \t]*(?P<language>[^\s{]*)(?P<options>[^\n]*)\n")
TITLE = re.compile(r'title="([^"]+)"')
COMMENT = re.compile(r"^[ \t]*<!--[ ]*(?P<name>setup|not run|exits)\b(?P<rest>.*?)-->", re.MULTILINE | re.DOTALL)
IMAGE = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<target>[^)\s]+)\)")


class PageError(AssertionError):
    """A fault of a page, with its place."""

    def __init__(self, page: str | Path, line: int, fault: str) -> None:
        super().__init__(f"{page}:{line}: {fault}")


@dataclass(frozen=True)
class Block:
    """One fenced block, or a hidden set-up."""

    line: int
    """Of its fence, from 1."""
    language: str
    source: str
    title: str | None = None
    """The file that a reader saves it as."""
    not_run: str | None = None
    """Why it is left out."""
    exits: int = 0
    """The status with which its last command ends."""
    follows: bool = False
    """Only blank lines part it from the block above: a `text` block then is what that one printed."""

    def padded(self) -> str:
        """The source with the page's line numbers, so that a traceback shows the page."""
        return "\n" * self.line + self.source


@dataclass(frozen=True)
class Image:
    line: int
    alt: str
    target: str


def parsed(text: str, page: str) -> Document:
    """The page as a Sybil document, each region with its `Block`.

    Raises:
        PageError: a mark with no block under it, or one that says nothing.
    """
    document = Document(text, page)
    marks: dict[int, re.Match[str]] = {}
    found: list[tuple[int, int, Region | re.Match[str]]] = []
    for region in RawFencedCodeBlockLexer(INFO)(document):
        found.append((region.start, region.end, region))
    fenced = [(start, end) for start, end, _ in found]
    for match in COMMENT.finditer(text):
        if any(start <= match.start() < end for start, end in fenced):
            continue
        if match["name"] == "setup":
            found.append((match.start(), match.end(), match))
        else:
            marks[match.end()] = match
    before = 0
    for start, end, item in sorted(found, key=lambda entry: entry[0]):
        line = text.count("\n", 0, start) + 1
        above = [at for at in marks if at <= start and not text[at:start].strip()]
        block = _block(item, line, not text[before:start].strip(), [marks.pop(at) for at in above], page)
        document.add(Region(start, end, parsed=block))
        before = end
    for at, mark in marks.items():
        raise PageError(page, text.count("\n", 0, at) + 1, f"no block directly under the mark {mark[0]!r}")
    return document


def _block(item: Region | re.Match[str], line: int, follows: bool, marks: list[re.Match[str]], page: str) -> Block:
    if isinstance(item, re.Match):
        return Block(line, "python", item["rest"].lstrip(" \t").removeprefix("\n"))
    not_run, exits = None, 0
    for mark in marks:
        value = " ".join(mark["rest"].lstrip(": \t").split())
        if not value:
            raise PageError(page, line - 1, f"the mark {mark[0]!r} says nothing: give a reason or a status")
        if mark["name"] == "not run":
            not_run = value
        else:
            exits = int(value)
    title = TITLE.search(str(item.lexemes["options"]))
    language, source = str(item.lexemes["language"]), str(item.lexemes["source"])
    return Block(line, language, source, title[1] if title else None, not_run, exits, follows)


def images(text: str) -> list[Image]:
    """The pictures that a page shows."""
    return [Image(text.count("\n", 0, m.start()) + 1, m["alt"], m["target"]) for m in IMAGE.finditer(text)]
