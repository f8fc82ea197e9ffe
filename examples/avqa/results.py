"""Accuracy as MUSIC-AVQA's papers report it, and the answers it was counted from.

Accuracies are micro averages (every question counts once) in [0, 1], shown in per cent.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import fsum
from pathlib import Path
from statistics import stdev
from typing import Any, Literal, get_args

from rich.table import Table
from rich.text import Text

from examples.avqa.annotations import QUESTION_TYPES, Question, read_json
from examples.avqa.errors import UserError
from examples.avqa.files import write_json, write_text

RowKind = Literal["type", "modality", "total", "topic"]

MODALITIES = {"A-Avg": "Audio", "V-Avg": "Visual", "AV-Avg": "Audio-Visual"}
_MOST = 2**53
"""Questions or runs: more is none of our numbers."""
_COLUMNS = (
    "question_id",
    "video_id",
    "type",
    "question",
    "answer",
    "predicted",
    "probability",
    "template",
    "topic",
)


@dataclass(frozen=True)
class Prediction:
    """What a system answered to one question."""

    question: Question
    predicted: str
    probability: float
    """The probability that the system gave to the predicted answer."""

    @property
    def score(self) -> float:
        """1 where the answer is right, else 0."""
        return float(self.predicted == self.question.answer)


@dataclass(frozen=True)
class AccuracyRow:
    """One line of a table: a question type, a modality, the total or a topic."""

    name: str
    kind: RowKind
    count: int
    """Questions."""
    accuracy: float | None
    """In [0, 1]; the mean where the row sums up several runs; None where there are no questions."""
    std: float | None = None
    """Sample standard deviation over the runs; None for fewer than two."""
    runs: int = 1

    @property
    def cell(self) -> str:
        """The accuracy in per cent: `77.62`, or `71.2 ± 0.8` over several runs."""
        if self.accuracy is None:
            return "–"
        if self.std is None:
            return f"{100 * self.accuracy:.2f}"
        return f"{100 * self.accuracy:.1f} ± {100 * self.std:.1f}"


@dataclass(frozen=True)
class AccuracyTable:
    """The nine types in the papers' order, each modality's average below them, the total, any topics."""

    rows: tuple[AccuracyRow, ...]

    def __getitem__(self, name: str) -> AccuracyRow:
        """The row of this name, such as `AV-Temp`, `AV-Avg` or `All`; topics never hide those."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    @property
    def total(self) -> float | None:
        """The accuracy over all questions, in [0, 1]."""
        return self["All"].accuracy


def accuracy_table(questions: Sequence[Question], scores: Sequence[float], *, topics: bool = False) -> AccuracyTable:
    """Averages one score a question by type, by modality and in total.

    Args:
        questions: what was asked.
        scores: for each question 1 or 0, or the expected score in [0, 1] of a system that guesses.
        topics: whether to add a row for each topic, in alphabetical order.

    Raises:
        ValueError: the two differ in length, or a score is outside [0, 1].
    """
    if len(questions) != len(scores):
        raise ValueError(f"scores has {len(scores)} entries; it must have one for each of {len(questions)} questions")
    if outside := [score for score in scores if not 0 <= score <= 1]:
        raise ValueError(f"scores holds {outside[0]}; scores must be in [0, 1]")
    pairs = list(zip(questions, scores, strict=True))

    def row(name: str, kind: RowKind, chosen: list[float]) -> AccuracyRow:
        return AccuracyRow(name, kind, len(chosen), fsum(chosen) / len(chosen) if chosen else None)

    rows = []
    for average, modality in MODALITIES.items():
        names = [name for (of, _), name in QUESTION_TYPES.items() if of == modality]
        rows += [row(name, "type", [s for q, s in pairs if q.short_type == name]) for name in names]
        rows.append(row(average, "modality", [s for q, s in pairs if q.modality == modality]))
    rows.append(row("All", "total", list(scores)))
    if topics:
        named = sorted({question.topic for question in questions} - {""})
        rows += [row(topic, "topic", [s for q, s in pairs if q.topic == topic]) for topic in named]
    return AccuracyTable(tuple(rows))


def summarise(tables: Sequence[AccuracyTable]) -> AccuracyTable:
    """Mean and sample standard deviation, row by row, over runs (seeds) on the same questions.

    Raises:
        ValueError: no tables, tables that are summaries themselves, or tables of different questions.
    """
    if not tables:
        raise ValueError("tables is empty; it must hold one table for each run")
    rows = []
    for row, others in _side_by_side({f"table {n}": table for n, table in enumerate(tables)}):
        if any(other.runs != 1 for other in others):
            raise ValueError("tables holds a summary; it must hold tables of single runs")
        values = [other.accuracy for other in others if other.accuracy is not None]
        mean = fsum(values) / len(values) if values else None
        std = stdev(values) if len(values) > 1 else None
        rows.append(AccuracyRow(row.name, row.kind, row.count, mean, std, len(others)))
    return AccuracyTable(tuple(rows))


def render(systems: Mapping[str, AccuracyTable]) -> Table:
    """A table for the screen, in per cent: one line a row, one column a system.

    Raises:
        ValueError: no systems, or systems that answered different questions.
    """
    screen = Table()
    screen.add_column("type")
    screen.add_column("questions", justify="right")
    for system in systems:
        screen.add_column(Text(system), justify="right")
    for row, others in _side_by_side(systems):
        average = row.kind in ("modality", "total")
        cells = (row.name, str(row.count), *(other.cell for other in others))
        screen.add_row(*map(Text, cells), style="bold" if average else None, end_section=average)
    return screen


def to_markdown(systems: Mapping[str, AccuracyTable]) -> str:
    """The same table as Markdown, averages in bold.

    Raises:
        ValueError: no systems, or systems that answered different questions.
    """
    lines = [["type", "questions", *systems], ["---", *["---:"] * (len(systems) + 1)]]
    for row, others in _side_by_side(systems):
        cells = [row.name, str(row.count), *(other.cell for other in others)]
        lines.append([f"**{cell}**" for cell in cells] if row.kind in ("modality", "total") else cells)
    return "".join(map(markdown_row, lines))


def markdown_row(cells: Sequence[str]) -> str:
    """A line of a Markdown table; nothing in a cell ends the cell or the line."""
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |\n"


def tables_to_json(systems: Mapping[str, AccuracyTable]) -> dict[str, Any]:
    """The tables as plain values, accuracies in [0, 1]: `{system: [row, ...], ...}`."""
    return {system: [asdict(row) for row in table.rows] for system, table in systems.items()}


def write_tables(path: Path, systems: Mapping[str, AccuracyTable]) -> None:
    """Writes the tables as JSON."""
    write_json(path, tables_to_json(systems))


def read_tables(path: Path) -> dict[str, AccuracyTable]:
    """Reads what `write_tables` wrote.

    Raises:
        UserError: no such file, or not such a file.
    """
    return tables_from_json(read_json(path, "tables of accuracies"), path)


def tables_from_json(value: Any, path: Path) -> dict[str, AccuracyTable]:
    """The inverse of `tables_to_json`; `path` is named where `value` holds no tables.

    Raises:
        UserError: `value` holds no tables.
    """
    try:
        return {system: AccuracyTable(tuple(map(_row, rows))) for system, rows in value.items()}
    except (AttributeError, TypeError) as error:
        raise UserError(f"{path} holds no tables of accuracies ({error}); it wants what test writes") from None


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Writes one line a question as CSV, in the order given."""
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, lineterminator="\n")
    # Python quotes a carriage return, which ends a line for whoever reads, only where lines end by it.
    quoting = csv.writer(lines, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(_COLUMNS)
    for prediction in predictions:
        q = prediction.question
        asked = (q.question_id, q.video_id, q.short_type, q.text, q.answer)
        row = (*asked, prediction.predicted, repr(float(prediction.probability)), q.template, q.topic)
        (quoting if any("\r" in field for field in row) else writer).writerow(row)
    write_text(path, lines.getvalue())


def read_predictions(path: Path) -> list[Prediction]:
    """Reads what `write_predictions` wrote.

    Raises:
        UserError: no such file, or a line that is not a prediction.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(_predictions(path, csv.DictReader(file, strict=True)))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; it should hold predictions as CSV") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not CSV in UTF-8 ({error}); it should hold predictions") from None


def _row(fields: dict[str, Any]) -> AccuracyRow:
    row = AccuracyRow(**fields)
    if not (
        isinstance(row.name, str)
        and row.kind in get_args(RowKind)
        and all(type(whole) is int and 0 <= whole <= _MOST for whole in (row.count, row.runs))
        and all(number is None or _is_share(number) for number in (row.accuracy, row.std))
    ):
        raise TypeError(f"{fields} is not a row")
    return row


def _is_share(value: object) -> bool:
    """Whether it is a number in [0, 1]; the spread of such numbers is one too."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _predictions(path: Path, reader: csv.DictReader[str]) -> Iterator[Prediction]:
    if missing := [column for column in _COLUMNS if column not in (reader.fieldnames or ())]:
        raise UserError(f"{path} lacks the columns {', '.join(missing)}; it should hold predictions as CSV")
    types = {name: key for key, name in QUESTION_TYPES.items()}
    for line in reader:
        place = f"{path}, line {reader.line_num}"
        if None in line or None in line.values():
            raise UserError(f"{place} does not have {len(reader.fieldnames or ())} fields, as the first line has")
        if line["type"] not in types:
            raise UserError(f"{place} has the type {line['type']!r}; known are {', '.join(types)}")
        modality, kind = types[line["type"]]
        yield Prediction(
            Question(
                video_id=line["video_id"],
                question_id=line["question_id"],
                modality=modality,
                kind=kind,
                text=line["question"],
                template=line["template"],
                answer=line["answer"],
                topic=line["topic"],
            ),
            predicted=line["predicted"],
            probability=_probability(place, line["probability"]),
        )


def _probability(place: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise UserError(f"{place} has the probability {text!r}; it wants a number from 0 to 1")
    return value


def _side_by_side(systems: Mapping[str, AccuracyTable]) -> Iterator[tuple[AccuracyRow, list[AccuracyRow]]]:
    """Each row of the first system with that row of every system, the first included."""
    if not systems:
        raise ValueError("no systems were given; a table wants at least one")
    first, *others = systems
    outline = [(row.name, row.kind, row.count) for row in systems[first].rows]
    for other in others:
        if [(row.name, row.kind, row.count) for row in systems[other].rows] != outline:
            raise ValueError(
                f"{other!r} and {first!r} answered different questions: their rows differ in name or count"
            )
    for rows in zip(*(table.rows for table in systems.values()), strict=True):
        yield rows[0], list(rows)
