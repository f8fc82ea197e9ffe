"""Recorded results to look things up in, and how figures are written.

B batch, T frames, D channels, E experts, K experts in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from .cases import Case
from .errors import UserError
from .measure import Timing
from .provenance import title
from .record import RESULTS, Row, read

NAMES = {
    "layer": "this layer",
    "layer_compiled": "this layer, compiled",
    "layer_graph": "this layer, CUDA graph",
    "layer_without_skipping": "this layer, nothing skipped",
    "factored": "factored, plain torch",
    "factored_compiled": "factored, compiled",
    "factored_graph": "factored, CUDA graph",
    "factored_compiled_graph": "factored, compiled, CUDA graph",
    "published": "published",
    "published_compiled": "published, compiled",
    "published_graph": "published, CUDA graph",
    "expert_pool": "expert_pool, every frame",
    "expert_pool_skipping": "expert_pool, frames out of reach skipped",
    "matrix_product": "matrix product of the same FLOPs",
}
"""What tables and charts call the implementations."""


class Results:
    """One device's recorded rows."""

    def __init__(self, provenance: dict[str, str], rows: Iterable[Row]) -> None:
        self.provenance = provenance
        self._rows = {(row.suite, row.case, row.implementation): row for row in rows}

    def cases(self, suite: str) -> list[Case]:
        """The suite's recorded cases, in their order."""
        return list(dict.fromkeys(case for recorded, case, _ in self._rows if recorded == suite))

    def rows(self, suite: str, case: Case) -> list[Row]:
        """What is recorded of a case, in the order of implementations."""
        return [row for (recorded, of, _), row in self._rows.items() if (recorded, of) == (suite, case)]

    def row(self, suite: str, case: Case, implementation: str) -> Row | None:
        """What is recorded of one implementation in a case."""
        return self._rows.get((suite, case, implementation))

    def time(self, suite: str, case: Case, implementation: str, which: str) -> Timing | None:
        """The time of one pass, where there is a number."""
        row = self.row(suite, case, implementation)
        return row.times.get(which) if row else None

    def implementations(self, suite: str, cases: Iterable[Case] | None = None) -> list[str]:
        """Which implementations occur in the suite, or in these cases of it."""
        wanted = self.cases(suite) if cases is None else list(cases)
        return list(dict.fromkeys(row.implementation for case in wanted for row in self.rows(suite, case)))

    def caption(self, suites: Sequence[str]) -> str:
        """On what, with what, when and at which commit these suites were measured."""
        made = self.provenance
        commits = sorted({row.commit for row in self._rows.values() if row.suite in suites})
        return (
            f"{title(made)}, Python {made['python']}, torch {made['torch']}, Triton {made['triton']}; "
            f"{made['date']}, commit {', '.join(commits)}."
        )


def load(paths: Sequence[Path]) -> dict[str, Results]:
    """Results by file name without its ending: of these files, or of all in benchmarks/results.

    Raises:
        UserError: there are none, or a file is no recording.
    """
    paths = list(paths) or sorted(RESULTS.glob("*.json"))
    if not paths:
        raise UserError("benchmarks/results holds no results yet; `python -m benchmarks run` makes them")
    return {path.stem: Results(*read(path)) for path in paths}


def markdown(header: Sequence[str], lines: Iterable[Sequence[str]], text_columns: int = 1) -> str:
    """A Markdown table; the first columns are text, the others are set to the right."""
    rules = ["---" if place < text_columns else "---:" for place in range(len(header))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, rules, *lines))


def sizes(case: Case) -> str:
    """A case as tables write it."""
    dtype = "" if case.dtype == "float32" else f", {case.dtype}"
    return f"{case.B}, {case.T}, {case.D}, {case.E}, {case.K}{dtype}"


def milliseconds(time: Timing | None, spread: bool = True) -> str:
    """`4.62 (4.60 to 4.71)`: median, 20th to 80th percentile."""
    if time is None:
        return "–"
    median, low, high = (_digits(1e3 * seconds) for seconds in (time.median, time.low, time.high))
    return f"{median} ({low} to {high})" if spread else median


def ratio(slower: Timing | None, faster: Timing | None) -> str:
    """How many times as fast the second is."""
    return "–" if slower is None or faster is None else f"{slower.median / faster.median:.2f}×"


def mebibytes(count: int | None) -> str:
    """Bytes in MiB."""
    return "–" if count is None else _digits(count / 2**20)


def _digits(number: float) -> str:
    """Three digits, or all before the point."""
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.3g}"
