"""Equations as MathML, which browsers draw by themselves: no script, no other host.

Pages write them as code hosts understand them: a ```math fence for display, and $`...`$ within a line.
"""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

_INLINE = re.compile(r"\$<code>(.*?)</code>\$", re.DOTALL)


def display(source: str, language: str, css_class: str, options: dict[str, Any], md: Any, **others: Any) -> str:
    """A fence of equations, as `pymdownx.superfences` calls for it."""
    return f'<div class="equation">{convert(source.strip(), display="block")}</div>'


def on_page_content(content: str, **others: Any) -> str:
    """The rendered page with the equations within its lines drawn."""
    return _INLINE.sub(lambda match: str(convert(html.unescape(match[1]))), content)
