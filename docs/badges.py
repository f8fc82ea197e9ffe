"""Draws the README's badges from what pyproject.toml and the version say: `python -m docs.badges`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "badges"
_WIDTH = 6.6
"""Of a letter of 11 px Verdana, about; the text is fitted to it."""
_PADDING = 12


def facts() -> dict[str, tuple[str, str]]:
    """File name -> (label, what is true of it)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = re.search(r'__version__ = "(.+)"', (ROOT / "gaussian_moe" / "_version.py").read_text(encoding="utf-8"))
    minors = [
        int(match[1])
        for line in project["classifiers"]
        if (match := re.fullmatch(r"Programming Language :: Python :: 3\.(\d+)", line))
    ]
    (torch,) = (line.removeprefix("torch>=") for line in project["dependencies"] if line.startswith("torch>="))
    if version is None or not minors:
        raise ValueError("pyproject.toml names no Python versions, or _version.py no version")
    return {
        "version": ("version", version[1]),
        "python": ("Python", f"3.{min(minors)} – 3.{max(minors)}"),
        "torch": ("PyTorch", f"≥ {torch}"),
        "license": ("license", project["license"]),
    }


def badge(label: str, value: str) -> str:
    """A flat badge of two fields, as SVG."""
    left, right = (round(len(text) * _WIDTH + _PADDING) for text in (label, value))
    texts = "".join(
        f'<text x="{x}" y="14" textLength="{width - _PADDING}" lengthAdjust="spacingAndGlyphs">{text}</text>'
        for x, width, text in ((left / 2, left, label), (left + right / 2, right, value))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" '
        f'aria-label="{label}: {value}"><title>{label}: {value}</title>'
        f'<clipPath id="r"><rect width="{left + right}" height="20" rx="3"/></clipPath>'
        f'<g clip-path="url(#r)"><rect width="{left}" height="20" fill="#444"/>'
        f'<rect x="{left}" width="{right}" height="20" fill="#3f51b5"/></g>'
        f'<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">{texts}</g>'
        "</svg>\n"
    )


def main() -> int:
    """Writes the badges that changed."""
    OUT.mkdir(exist_ok=True)
    for name, (label, value) in facts().items():
        path, drawn = OUT / f"{name}.svg", badge(label, value)
        changed = not path.exists() or path.read_text(encoding="utf-8") != drawn
        if changed:
            path.write_text(drawn, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {'written' if changed else 'up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
