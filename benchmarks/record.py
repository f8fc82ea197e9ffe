"""Recorded results: one JSON file a device, written whole after each case, so that a stopped run goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .cases import Case, Experiment
from .errors import UserError
from .measure import Timing

RESULTS = Path(__file__).with_name("results")


@dataclass
class Row:
    """What was found of one implementation in one case, or why there is no number."""

    suite: str
    case: Case
    implementation: str
    commit: str
    times: dict[str, Timing] = field(default_factory=dict)
    """Of a call, by pass."""
    memory: int | None = None
    """Peak bytes of forward and backward net of inputs, parameters and their gradients."""
    flops: int | None = None
    """Of the forward pass, counted on aten operations."""
    output_error: float | None = None
    """Largest difference from float64, relative to the largest value."""
    gradient_error: float | None = None
    """The same of the gradient that is the farthest off."""
    fault: str | None = None
    """It failed, or its result is wrong."""
    left_out: str | None = None
    """Memory would not suffice."""

    @property
    def reason(self) -> str | None:
        """Why there is no number."""
        return self.fault or self.left_out


class Recording:
    """A file of results being added to.

    Args:
        path: where it is or will be.
        provenance: device, threads and versions of this run.
        commit: of this run.
        again: whether to measure anew what is recorded; what this run does not measure stays.
        keep: whether to keep what another commit recorded.

    Raises:
        UserError: the file is no recording, or `keep` is asked for and it is from another device or version.
    """

    def __init__(self, path: Path, provenance: dict[str, str], commit: str, again: bool, keep: bool) -> None:
        self.path, self.provenance, self.commit = path, provenance, commit
        self.rows: list[Row] = []
        self.started_anew = ""
        self._again = again
        if not path.exists():
            return
        recorded, rows = read(path)
        recorded.pop("date", None)
        if recorded != provenance:
            if keep:
                raise UserError(f"{path} is from another device or other versions; without --keep it is started anew")
            self.started_anew = "another device or other versions"
        elif keep or all(row.commit == commit for row in rows):
            self.rows = rows
        else:
            self.started_anew = "another commit"

    def has(self, experiment: Experiment, implementations: Iterable[str], left_out: Iterable[str] = ()) -> bool:
        """Whether the case is recorded: numbers of these implementations, and that those were left out."""
        if self._again:
            return False
        rows = [row for row in self.rows if (row.suite, row.case) == (experiment.suite, experiment.case)]
        measured = {row.implementation for row in rows if row.reason is None}
        absent = {row.implementation for row in rows if row.left_out}
        return set(implementations) <= measured and set(left_out) <= absent

    def replace(self, experiment: Experiment, rows: Sequence[Row]) -> None:
        """Puts these rows in place of what the file holds for the same implementations in this case; writes it."""
        fresh = {row.implementation for row in rows}
        self.rows = [
            row
            for row in self.rows
            if (row.suite, row.case) != (experiment.suite, experiment.case) or row.implementation not in fresh
        ]
        self.rows += rows
        write(self.path, self.provenance | {"date": datetime.now(timezone.utc).date().isoformat()}, self.rows)


def read(path: Path) -> tuple[dict[str, str], list[Row]]:
    """Provenance and rows of a file.

    Raises:
        UserError: no such file, or it holds no results.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): str(text) for key, text in value["provenance"].items()}, list(map(_row, value["rows"]))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        said = f"{error!r:.200}"
        raise UserError(f"{path} holds no results of `python -m benchmarks run` ({said})") from error


def write(path: Path, provenance: dict[str, str], rows: Iterable[Row]) -> None:
    """Writes a file whole: a row a line.

    Raises:
        OSError: it cannot be written; the error names `path`.
    """
    lines = ",\n".join(f"  {json.dumps(_fields(row))}" for row in rows)
    text = f'{{\n "provenance": {json.dumps(provenance)},\n "rows": [\n{lines}\n ]\n}}\n'
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        # A write to a full disk does not say of which file.
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _fields(row: Row) -> dict[str, Any]:
    """A row as JSON holds it: times as [median, low, high], four digits, nothing that is not there."""
    fields = asdict(row)
    fields["case"] = {key: value for key, value in fields["case"].items() if value is not None}
    fields["times"] = {name: [_short(seconds) for seconds in time.values()] for name, time in fields["times"].items()}
    for error in ("output_error", "gradient_error"):
        fields[error] = None if fields[error] is None else _short(fields[error])
    return {key: value for key, value in fields.items() if value not in (None, {})}


def _row(fields: dict[str, Any]) -> Row:
    case = Case(**fields["case"])
    times = {name: Timing(*map(float, seconds)) for name, seconds in fields.get("times", {}).items()}
    row = Row(**(fields | {"case": case, "times": times}))
    sizes = (case.B, case.T, case.D, case.E, case.K)
    texts = (row.suite, row.implementation, row.commit, case.dtype)
    optional_texts = (row.fault, row.left_out)
    numbers = (case.stds, row.memory, row.flops, row.output_error, row.gradient_error)
    if not (
        all(type(size) is int for size in sizes)
        and all(isinstance(text, str) for text in texts)
        and all(text is None or isinstance(text, str) for text in optional_texts)
        and all(number is None or (type(number) in (int, float) and abs(number) < 2**63) for number in numbers)
    ):
        raise ValueError("a field of another kind in a row")
    return row


def _short(number: float) -> float:
    return float(f"{number:.4g}")
