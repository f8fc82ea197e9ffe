"""The recorded figures in docs/idea.md: each `<!-- recorded: NAME -->` block, from the records alone."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from examples.avqa.annotations import QUESTION_TYPES
from examples.avqa.errors import UserError
from examples.avqa.files import write_text
from examples.avqa.readme import ROOT, recorded_on
from examples.avqa.results import AccuracyTable

from .accuracies import ORACLE, ORDER, load_tables
from .gates import shown_kinds
from .record import MIXTURES, POINTS, Kind, Record
from .style import COLORS
from .timelines import drawn_kinds

PAGE = ROOT / "docs" / "idea.md"
_SYSTEMS = (*COLORS, "most frequent answer to the text", ORACLE)
_OURS = "QA-TIGER"


def rendered(text: str, record: Record) -> str:
    """A page with each block filled.

    Raises:
        UserError: a block that nothing renders.
    """
    return re.sub(
        r"(<!-- recorded: ([^\n]*?) -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}\n{_block(match[2], record)}\n\n{match[3]}",
        text,
        flags=re.DOTALL,
    )


def fill(record: Record, page: Path = PAGE) -> bool:
    """Writes the page where a figure changed; says whether it did."""
    before = page.read_text(encoding="utf-8")
    after = rendered(before, record)
    if after != before:
        write_text(page, after)
    return after != before


def accuracy(record: Record) -> str:
    """Questions about order beside all others, and the types that each other system wins."""
    tables, source = load_tables()
    names = [*ORDER, "All"]
    lines = [["", *(f"{name} ({tables[_OURS][name].count})" for name in names)]]
    lines += [[system, *(tables[system][name].cell for name in names)] for system in _SYSTEMS]
    ahead = [
        f"{system} in {', '.join(won)}"
        for system in COLORS
        if (won := [name for name in QUESTION_TYPES.values() if _is_ahead(tables, system, name)])
    ]
    losses = "; ".join(ahead) or "none in any"
    return (
        f"{_table(lines)}\n\nMean accuracy in per cent ± standard deviation over {tables[_OURS]['All'].runs} seeds; in "
        f"brackets, how many questions. Ahead of {_OURS} in the mean are, of the nine types: {losses}. "
        f"{recorded_on(source['provenance'])}"
    )


def run(record: Record) -> str:
    """The run that the pictures are drawn from."""
    return (
        f"{record.questions:,} questions about {record.clips} test concerts, {record.frames} frames a concert, "
        f"{record.experts} experts, all in use. It answers {100 * record.accuracy:.1f} % right, the most frequent "
        f"training answer to the same text {100 * record.text_only:.1f} %. {recorded_on(record.provenance)}"
    )


def concert(record: Record) -> str:
    """The example concert, by its rule."""
    example = record.example
    right = sum(asked.answer == asked.predicted for asked in example.asked)
    return (
        f"`{example.video_id}`, {example.seconds:.0f} seconds: {right} of the {len(example.asked)} answers are right. "
        f"The largest gate of any of these questions is {_largest(record):.2f}."
    )


def gates(record: Record) -> str:
    """How far routing is from choosing one expert, and from not choosing."""
    types = [kind for kind in record.kinds if not kind.is_topic]
    lines = [["mixture", "entropy of the gates, nats", "largest share of any expert", "smallest"]]
    for name in MIXTURES:
        counts = [kind.count for kind in types]
        entropy = np.average([kind.looks[name].entropy for kind in types], weights=counts)
        shares = np.average([kind.looks[name].gates for kind in types], axis=0, weights=counts)
        most, least = int(shares.argmax()), int(shares.argmin())
        ends = [f"{100 * shares[place]:.1f} % (expert {place + 1})" for place in (most, least)]
        lines.append([name, f"{entropy:.2f}", *ends])
    return (
        f"{_table(lines)}\n\nMeans over all questions. {math.log(record.experts):.2f} nats is a router that does not "
        f"choose, 0 one that takes a single expert; {100 / record.experts:.1f} % is an even share."
    )


def timelines(record: Record) -> str:
    """For each kind the mean and the peak of its timeline."""
    lines = [["kind", "questions", "right, %", *(f"{name}: mean time, peak" for name in MIXTURES)]]
    kinds = {kind.name: kind for kind in (*drawn_kinds(record), *shown_kinds(record))}
    for kind in kinds.values():
        times = [f"{_mean_time(kind, name):.2f}, {_peak(kind, name):.2f}" for name in MIXTURES]
        lines.append([kind.name, str(kind.count), f"{100 * kind.accuracy:.1f}", *times])
    within = ", ".join(f"{name} {100 * record.spreads[name].within_kinds:.0f} %" for name in MIXTURES)
    return (
        f"{_table(lines)}\n\nTimes are fractions of the clip. Of the variance of the timelines' mean times lies within "
        f"kinds of question (topics), that is between concerts and wordings: {within}. The rest is the kind's."
    )


def spreads(record: Record) -> str:
    """Stds, over all questions."""
    parts = []
    for name in MIXTURES:
        low, middle, high = record.spreads[name].stds
        parts.append(f"{name} {middle:.3f} (10th to 90th percentile {low:.3f} to {high:.3f})")
    return f"Median std, each Gaussian counted as much as its gate, in fractions of the clip: {'; '.join(parts)}."


def found(record: Record) -> str:
    """Whether timelines lie where the player in question sounds."""
    if not record.found:
        return "Not measured: the run's data has no scenes."
    lines = [["asked for", "questions", "uniform", *(f"{name}: {what}" for name in MIXTURES for what in _WHOSE)]]
    for row in record.found:
        cells = [
            cell
            for name in MIXTURES
            for cell in (
                f"{100 * row.others[name]:.1f}",
                f"{100 * row.own[name]:.1f}",
                f"{100 * (row.own[name] - row.others[name]):+.1f} ± {100 * row.gain_error[name]:.1f}",
            )
        ]
        lines.append([row.topic, str(row.count), f"{100 * row.uniform:.1f}", *cells])
    return (
        f"{_table(lines)}\n\nPer cent of a timeline that lies where the player that is the right answer sounds. "
        "Uniform: every frame alike. Others': the mean timeline of the same question about all other concerts. "
        "Gain: own minus others', ± standard error."
    )


_WHOSE = ("others'", "own", "gain")
BLOCKS: Mapping[str, Callable[[Record], str]] = {
    "idea_accuracy": accuracy,
    "idea_run": run,
    "idea_concert": concert,
    "idea_gates": gates,
    "idea_timelines": timelines,
    "idea_spreads": spreads,
    "idea_found": found,
}


def _block(name: str, record: Record) -> str:
    if name not in BLOCKS:
        raise UserError(f"no block is called {name!r}; known are {', '.join(BLOCKS)}")
    return BLOCKS[name](record)


def _is_ahead(tables: Mapping[str, AccuracyTable], system: str, name: str) -> bool:
    theirs, ours = (tables[each][name].accuracy for each in (system, _OURS))
    return theirs is not None and ours is not None and theirs > ours


def _largest(record: Record) -> float:
    return max(gate for asked in record.example.asked for look in asked.looks.values() for gate in look.gates)


def _mean_time(kind: Kind, mixture: str) -> float:
    return float(np.average(np.linspace(0, 1, POINTS), weights=kind.looks[mixture].timeline))


def _peak(kind: Kind, mixture: str) -> float:
    return float(np.argmax(kind.looks[mixture].timeline)) / (POINTS - 1)


def _table(lines: list[list[str]]) -> str:
    ruler = ["---", *["---:"] * (len(lines[0]) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], ruler, *lines[1:]))
