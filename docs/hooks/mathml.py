"""Equations as MathML, which browsers draw by themselves: no script, no other host.

Pages write them as code hosts understand them: a ```math fence for display, and $...$ or $`...`$ within a line.
"""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

_INLINE = re.compile(r'\$<code>(.*?)</code>\$|<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
# The same to a reader, and known to the converter.
_KNOWN = {r"\begin{aligned}": r"\begin{split}", r"\end{aligned}": r"\end{split}"}


def _mathml(source: str, display: str) -> str:
    for name, other in _KNOWN.items():
        source = source.replace(name, other)
    return str(convert(source.strip(), display=display))


def display(source: str, language: str, css_class: str, options: dict[str, Any], md: Any, **others: Any) -> str:
    """A fence of equations, as `pymdownx.superfences` calls for it."""
    return f'<div class="equation">{_mathml(source, "block")}</div>'


def on_page_content(content: str, **others: Any) -> str:
    """The rendered page with the equations within its lines drawn."""
    return _INLINE.sub(lambda match: _mathml(html.unescape(match[1] or match[2]), "inline"), content)
