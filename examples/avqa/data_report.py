"""Everything that is wrong with a data set, found to the end: answers, annotations, features."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .annotations import Question, Vocabulary, load_vocabulary, read_questions
from .config import DataConfig
from .encoders import FeatureDims, load_encoders
from .encoders.base import MODALITIES
from .errors import UserError
from .feature_faults import FAULT_KINDS, Fault, FaultKind, all_faults
from .features import FeatureSource, open_features, renamed

TOGETHER = "together"
"""Stands for the modalities of a video as a whole."""
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Counts:
    """How many videos of one split and modality."""

    wanted: int
    there: int
    """Not missing; of `TOGETHER`, without any fault."""
    faults: dict[FaultKind, int]


@dataclass(frozen=True)
class SplitReport:
    """What one split holds."""

    file: Path
    questions: list[Question]
    annotation_faults: list[str]
    feature_faults: list[Fault] = field(default_factory=list)

    @property
    def video_ids(self) -> set[str]:
        """The videos that are asked about."""
        return {question.video_id for question in self.questions}

    @property
    def answers(self) -> int:
        """How many different answers occur."""
        return len({question.answer for question in self.questions})

    def counts(self) -> dict[str, Counts]:
        """Videos by modality, and together."""
        counted: dict[str, Counts] = {}
        for modality in (*MODALITIES, None):
            faults = {kind: _videos(self.feature_faults, kind, modality) for kind in FAULT_KINDS}
            lacking = faults["missing"] if modality else {fault.video_id for fault in self.feature_faults}
            numbers = {kind: len(videos) for kind, videos in faults.items()}
            wanted = len(self.video_ids)
            counted[modality or TOGETHER] = Counts(wanted, wanted - len(lacking), numbers)
        return counted


@dataclass(frozen=True)
class DataReport:
    """What a data set holds."""

    vocabulary: Vocabulary | None
    splits: dict[str, SplitReport]
    faults: list[str]
    """Of the answer index and of the features as a whole."""
    with_features: bool

    def messages(self) -> list[str]:
        """Everything that is wrong, in words, each once."""
        found = list(self.faults)
        for split in self.splits.values():
            found += split.annotation_faults
            found += [fault.message for fault in split.feature_faults]
        return list(dict.fromkeys(found))

    def plain(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "answers": len(self.vocabulary) if self.vocabulary else None,
            "faults": self.faults,
            "splits": {
                name: {
                    "file": str(split.file),
                    "questions": len(split.questions),
                    "videos": len(split.video_ids),
                    "answers": split.answers,
                    "features": {
                        modality: {"wanted": counts.wanted, "there": counts.there, **counts.faults}
                        for modality, counts in split.counts().items()
                        if self.with_features
                    },
                    "annotation_faults": split.annotation_faults,
                    "feature_faults": [fault._asdict() for fault in split.feature_faults],
                }
                for name, split in self.splits.items()
            },
        }


def report_on(data: DataConfig, values: bool = False) -> DataReport:
    """Reads answers, annotations and every feature header, and stops at no fault.

    Args:
        data: where everything is.
        values: whether to read every value too.

    Raises:
        UserError: the encoder is unknown, so that nothing is known to be right.
    """
    encoders = load_encoders(data.encoder, data.weights)
    faults: list[str] = []
    vocabulary: Vocabulary | None = None
    try:
        vocabulary = load_vocabulary(data.answers)
    except UserError as error:
        faults.append(str(error))
    splits: dict[str, SplitReport] = {}
    for name in SPLITS:
        path: Path | None = getattr(data, name)
        if path is not None:
            splits[name] = _split(path, vocabulary)
    if data.features is not None:
        wanted = sorted({video_id for split in splits.values() for video_id in split.video_ids})
        try:
            source = open_features(data.features, renamed(encoders.folders, data.folders), data.frames)
            found = _feature_faults(source, wanted, encoders.dims, values)
        except UserError as error:
            faults.append(str(error))
            found = [Fault(video_id, name, "missing", str(error)) for video_id in wanted for name in MODALITIES]
        for split in splits.values():
            split.feature_faults.extend(fault for fault in found if fault.video_id in split.video_ids)
    return DataReport(vocabulary, splits, faults, data.features is not None)


def _split(path: Path, vocabulary: Vocabulary | None) -> SplitReport:
    try:
        return SplitReport(path, *read_questions(path, vocabulary))
    except UserError as error:
        return SplitReport(path, [], [str(error)])


def _feature_faults(source: FeatureSource, wanted: list[str], dims: FeatureDims, values: bool) -> list[Fault]:
    faults = all_faults(source, wanted, dims)
    if values:
        unread = {fault.video_id for fault in faults}
        for video_id in tqdm([name for name in wanted if name not in unread], desc="reading values", delay=2):
            fault = source.value_fault(video_id)
            if fault is not None:
                faults.append(fault)
    return faults


def _videos(faults: Iterable[Fault], kind: FaultKind, modality: str | None) -> set[str]:
    return {fault.video_id for fault in faults if fault.kind == kind and fault.modality == modality}
