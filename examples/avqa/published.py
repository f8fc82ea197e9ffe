"""Published accuracies, with the source of each figure: the data is in published.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .annotations import QUESTION_TYPES
from .errors import UserError
from .results import MODALITIES, AccuracyRow, AccuracyTable, RowKind

FILE = Path(__file__).with_name("published.json")


@dataclass(frozen=True)
class PublishedSystem:
    """What a paper reports of one system."""

    source: str
    accuracy: Mapping[str, float]
    """In per cent, by row of our tables: `A-Count` ... `All`; a row that is not published is missing."""


@dataclass(frozen=True)
class Published:
    """The published figures of one data set and split."""

    title: str
    count: int | None
    """Questions of the split; None where no source tells."""
    by_type: Mapping[str, int]
    """Questions of each type; empty where no source tells."""
    count_source: str
    systems: Mapping[str, PublishedSystem]

    def tables(self) -> dict[str, AccuracyTable]:
        """A table a system. A modality's average is computed where all its types and their counts are known."""
        return {name: self._table(system.accuracy) for name, system in self.systems.items()}

    def _table(self, accuracy: Mapping[str, float]) -> AccuracyTable:
        rows = []
        for average, modality in MODALITIES.items():
            types = [name for (of, _), name in QUESTION_TYPES.items() if of == modality]
            rows += [self._row(name, "type", self.by_type.get(name, 0), accuracy.get(name)) for name in types]
            value, count = accuracy.get(average), sum(self.by_type.get(name, 0) for name in types)
            if value is None and count and accuracy.keys() >= set(types):
                # Rounded figures give whole numbers of right answers, so that the average is exact.
                value = 100 * sum(round(self.by_type[name] * accuracy[name] / 100) for name in types) / count
            rows.append(self._row(average, "modality", count, value))
        return AccuracyTable((*rows, self._row("All", "total", self.count or 0, accuracy.get("All"))))

    @staticmethod
    def _row(name: str, kind: RowKind, count: int, per_cent: float | None) -> AccuracyRow:
        return AccuracyRow(name, kind, count, None if per_cent is None else per_cent / 100)


def published(name: str) -> Published:
    """The published figures of a data set and split, such as "music-avqa".

    Raises:
        UserError: no figures are recorded under this name.
    """
    everything = json.loads(FILE.read_text(encoding="utf-8"))
    if name not in everything:
        raise UserError(f"published: no figures are recorded for {name!r}; known are {', '.join(everything)}")
    value = everything[name]
    questions = value["questions"] or {}
    return Published(
        title=value["title"],
        count=questions.get("count"),
        by_type=questions.get("by_type", {}),
        count_source=questions.get("source", ""),
        systems={system: PublishedSystem(**fields) for system, fields in value["systems"].items()},
    )
