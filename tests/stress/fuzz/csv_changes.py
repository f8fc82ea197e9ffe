"""Changes of CSV: cells, rows and columns that are not what is meant."""

from __future__ import annotations

import csv
import io

from .json_changes import NAMES
from .parser import Draw

_CELLS: tuple[str, ...] = (
    *NAMES,
    "nan",
    "inf",
    "-1",
    "2",
    "1e-400",
    "0x1p0",
    "1_0",
    "٣",
    "9" * 5000,
    "x" * 140_000,
    "a\rb",
    "a\r\nb",
    '"',
    "'",
    "|",
    "\ufeff",
    "\x1b[2J",
)


def csv_changed(draw: Draw, data: bytes) -> bytes:
    """A file of CSV with a cell, a row or a column changed; one that is no CSV already stays."""
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True))
    except (ValueError, csv.Error):
        return data
    if not rows:
        return data
    row = draw.number(0, len(rows) - 1)
    column = draw.number(0, max(len(rows[row]) - 1, 0))
    kind = draw.number(0, 7)
    if kind <= 2 and rows[row]:
        rows[row][column] = draw.one(_CELLS)
    elif kind == 3:
        del rows[row]
    elif kind == 4:
        rows += [rows[row]] * draw.one((1, 50))
    elif kind == 5:
        rows[row].append(draw.one(_CELLS))
    elif kind == 6:
        rows[row] = rows[row][:column]
    else:
        for cells in rows:
            del cells[column : column + 1]
    text = io.StringIO(newline="")
    writer = csv.writer(
        text, quoting=draw.one((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)), lineterminator=draw.one(("\n", "\r\n"))
    )
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")
