"""Files of the repository that the pages link to become pages of the site.

A page says `../kernels/expert_pool/README.md`, as a code host wants it. Such a file is shown on a page of its own under
source/, so that the site is complete by itself, at the commit it was built from, wherever the repository lies.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

FOLDER = "source"
_LINK = re.compile(r"(\]\()(?![a-z]+:|#|/)([^)\s#]+)((?:#[^)\s]*)?\))")
_FENCE = re.compile(r"^(```+|~~~+).*?^\1[ \t]*$", re.DOTALL | re.MULTILINE)
_LANGUAGES = {".py": "python", ".json": "json", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".sh": "bash"}
_PICTURES = {".png", ".svg"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for each file that a page, or such a page in turn, links to."""
    waiting = [file for file in files.documentation_pages() if not file.generated_by]
    texts = [(_origin(file, config), file.content_string) for file in waiting]
    seen: set[str] = set()
    while texts:
        origin, text = texts.pop()
        for target in _outside(origin, text, files, config):
            if target in seen:
                continue
            seen.add(target)
            content = _content(target, _root(config))
            files.append(
                File.generated(config, _page(target), content=content, inclusion=InclusionLevel.NOT_IN_NAV)
                if PurePosixPath(target).suffix not in _PICTURES
                else File.generated(config, f"{FOLDER}/{target}", abs_src_path=str(_root(config) / target))
            )
            if target.endswith(".md"):
                texts.append((target, content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its links out of the documentation turned to those pages, and back into it from them."""
    origin, here = _origin(page.file, config), posixpath.dirname(page.file.src_uri)

    def turned(match: re.Match[str]) -> str:
        target = _resolved(origin, match[2])
        inside = _inside(target, config)
        if inside is not None and files.get_file_from_path(inside):
            to = inside
        elif (_root(config) / target).exists():
            to = _page(target) if PurePosixPath(target).suffix not in _PICTURES else f"{FOLDER}/{target}"
        else:
            return match[0]
        return f"{match[1]}{posixpath.relpath(to, here or '.')}{_anchor(match[3], target)}"

    return _between_fences(markdown, lambda text: _LINK.sub(turned, text))


def _anchor(end: str, target: str) -> str:
    # A line of a source file is no anchor of its page.
    return end if target.endswith(".md") else ")"


def _between_fences(markdown: str, change: Any) -> str:
    parts, last = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [change(markdown[last : fence.start()]), fence[0]]
        last = fence.end()
    return "".join([*parts, change(markdown[last:])])


def _outside(origin: str, text: str, files: Files, config: MkDocsConfig) -> Iterator[str]:
    """What a text links to that is no page: paths from the repository's root."""
    for _, link, _ in _LINK.findall(_FENCE.sub("", text)):
        target = _resolved(origin, link)
        inside = _inside(target, config)
        known = inside is not None and files.get_file_from_path(inside)
        if not known and not target.startswith("..") and (_root(config) / target).exists():
            yield target


def _content(target: str, root: Path) -> str:
    """A page that shows a file: Markdown as it reads, all else as it is written; a folder's list of files."""
    path = root / target
    if path.is_dir():
        names = sorted(f"{name.name}/" if name.is_dir() else name.name for name in path.iterdir())
        shown = [name for name in names if not name.startswith((".", "__pycache__"))]
        return _front(target) + f"# `{target}/`\n\n" + "\n".join(f"- `{name}`" for name in shown) + "\n"
    if path.suffix == ".npz":
        return _front(target) + f"# `{target}`\n\nA file of {path.stat().st_size:,} bytes.\n"
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    fence = "`" * max(4, *(len(run) + 1 for run in re.findall(r"`+", text)), 4)
    return f"{_front(target)}# `{target}`\n\n{fence}{_LANGUAGES.get(path.suffix, 'text')}\n{text}\n{fence}\n"


def _front(target: str) -> str:
    # Found by its links, not by the search: a word of a page should lead to the page.
    return f"---\ntitle: {target}\nsearch:\n  exclude: true\n---\n\n"


def _page(target: str) -> str:
    return f"{FOLDER}/{target}" if target.endswith(".md") else f"{FOLDER}/{target.rstrip('/')}.md"


def _origin(file: File, config: MkDocsConfig) -> str:
    """Where a page's text lies, from the repository's root."""
    if file.generated_by and file.src_uri.startswith(f"{FOLDER}/"):
        return file.src_uri.removeprefix(f"{FOLDER}/")
    return f"{PurePosixPath(config.docs_dir).relative_to(_root(config).as_posix()).as_posix()}/{file.src_uri}"


def _resolved(origin: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), unquote(link)))


def _inside(target: str, config: MkDocsConfig) -> str | None:
    folder = PurePosixPath(config.docs_dir).relative_to(_root(config).as_posix()).as_posix()
    return target.removeprefix(f"{folder}/") if target.startswith(f"{folder}/") else None


def _root(config: MkDocsConfig) -> Path:
    return Path(config.config_file_path).resolve().parent
