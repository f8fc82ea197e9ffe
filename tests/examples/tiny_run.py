"""Writes a tiny data set in MUSIC-AVQA's format, with random features, and trains tiny models on it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from examples.avqa.config import DataConfig, ModelConfig, OptimizerConfig, TrainerConfig
from examples.avqa.encoders import EncodedText, EncodedVideo, Encoders, FeatureDims, Modality, load_encoders
from examples.avqa.features import FeatureFolder, IndexRecord
from examples.avqa.fit import fit

ANSWERS = ("yes", "no", "two", "flute", "left")
MODEL = ModelConfig(dim=16, num_experts=2, top_k=2, heads=2, dropout=0.2, whiten={"question": 8, "words": 8})
OPTIMIZER = OptimizerConfig(lr=1e-2)
TRAINER = TrainerConfig(max_epochs=2, accelerator="cpu")
QUESTIONS: Sequence[tuple[tuple[str, str], str, list[str], str]] = (
    (("Audio-Visual", "Existential"), "Is there a voiceover?", [], "yes"),
    (("Audio", "Counting"), "How many instruments sound?", [], "two"),
    (("Audio-Visual", "Temporal"), "Where is the <FL> sounding instrument?", ["first"], "left"),
    (("Visual", "Counting"), "Is there a <Object> in the entire video?", ["flute"], "no"),
)
CLIPS = {"train": 4, "val": 2, "test": 3}


@dataclass(frozen=True)
class TinyData:
    """Where the tiny data set is."""

    root: Path

    @property
    def config(self) -> DataConfig:
        """What trains on it: batches of two clips, two questions each."""
        return DataConfig(
            answers=self.root / "answer2idx.json",
            train=self.root / "train.json",
            val=self.root / "val.json",
            test=self.root / "test.json",
            features=self.root / "features",
            clips_per_batch=2,
            questions_per_clip=2,
            eval_clips_per_batch=2,
        )

    @property
    def folder(self) -> FeatureFolder:
        """Its features."""
        return FeatureFolder(self.root / "features", load_encoders("small").folders)

    def options(self, **others: str | Path | None) -> list[str]:
        """The data's options on the command line; `others` replace or, by None, remove some."""
        fields = {name: getattr(self.config, name) for name in ("answers", "train", "val", "test", "features")}
        return [part for name, value in (fields | others).items() if value for part in (f"--data.{name}", str(value))]

    def edit(self, split: str, **fields: Any) -> None:
        """Changes the first record of a split; a field of None is removed."""
        path = self.root / f"{split}.json"
        records = json.loads(path.read_text())
        records[0] = {name: value for name, value in (records[0] | fields).items() if value is not None}
        path.write_text(json.dumps(records))


MODEL_OPTIONS = ["--model.dim", "16", "--model.heads", "2", "--model.num_experts", "2", "--model.top_k", "2"]
TRAINER_OPTIONS = ["--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"]


def write_data(root: Path, frames: Sequence[int] = (3, 4)) -> TinyData:
    """Annotations of all splits, the answer index and random features; clips have `frames` frames in turn."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "answer2idx.json").write_text(json.dumps({"ans2ix": {name: i for i, name in enumerate(ANSWERS)}}))
    data = TinyData(root)
    for split, clips in CLIPS.items():
        records = []
        for clip in range(clips):
            # Every second clip is asked one question less.
            for number, (kind, content, values, answer) in enumerate(QUESTIONS[: len(QUESTIONS) - clip % 2]):
                records.append(record(f"{split}_{clip}", 10 * clip + number, kind, content, values, answer))
            write_features(data, f"{split}_{clip}", frames[clip % len(frames)], seed=clip)
        (root / f"{split}.json").write_text(json.dumps(records))
    return data


def record(
    video_id: str, question_id: int, kind: tuple[str, str], content: str, values: list[str], answer: str
) -> dict[str, Any]:
    """One annotation, as MUSIC-AVQA v1 writes it."""
    return {
        "video_id": video_id,
        "question_id": question_id,
        "type": json.dumps(kind),
        "question_content": content,
        "templ_values": json.dumps(values),
        "question_deleted": 0,
        "anser": answer,
    }


def write_features(data: TinyData, video_id: str, frames: int, seed: int, real: int | None = None) -> None:
    """Random features of the `small` preset's shapes; `real` of the frames are no padding."""
    dims = load_encoders("small").dims
    generator = torch.Generator().manual_seed(seed)
    shapes: dict[Modality, tuple[int, ...]] = {
        "audio": (frames, dims.audio),
        "video": (frames, dims.video),
        "patches": (frames, *dims.patches),
    }
    features = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    plain_shapes = {str(name): list(shape) for name, shape in shapes.items()}
    index = IndexRecord(video_id, "small", real or frames, float(frames), False, 1, plain_shapes)
    data.folder.save(features, index)


def train_tiny(tiny: TinyData, out: Path, **others: Any) -> Path:
    """Fits a tiny model, `others` in place of `fit`'s arguments; returns the run folder."""
    arguments: dict[str, Any] = {
        "data": tiny.config,
        "out": out,
        "model": MODEL,
        "optimizer": OPTIMIZER,
        "trainer": TRAINER,
        "seed": 1,
    }
    fit(**(arguments | others))
    return out


def epochs(count: int) -> TrainerConfig:
    """The tiny trainer, with another number of epochs."""
    return replace(TRAINER, max_epochs=count)


def everything(folder: Path) -> Mapping[str, bytes]:
    """Every file below a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class StubEncoders(Encoders):
    """Encodes a text by what its words are, without a model: 4 channels."""

    name = "stub"
    dims = FeatureDims(audio=1, video=1, patches=(1, 1), question=4, words=4)
    folders: Mapping[Modality, str] = {"audio": "a", "video": "v", "patches": "p"}
    frame_size = None

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode_video(self, frames: Any) -> EncodedVideo:
        """Not used."""
        raise NotImplementedError

    def encode_audio(self, waveform: Any) -> Tensor:
        """Not used."""
        raise NotImplementedError

    def encode_text(self, texts: Sequence[str]) -> EncodedText:
        """One vector a word, their sum for the text; padded to the longest of these texts."""
        self.asked += texts
        words = [torch.stack([_vector(word) for word in text.split(" ")]) for text in texts]
        longest = max(map(len, words))
        return EncodedText(
            question=torch.stack([rows.sum(0) for rows in words]),
            words=torch.stack([F.pad(rows, (0, 0, 0, longest - len(rows))) for rows in words]),
            padding_mask=torch.stack([torch.arange(longest) >= len(rows) for rows in words]),
        )


def _vector(word: str) -> Tensor:
    return torch.tensor([len(word), ord(word[0]), ord(word[-1]), 1.0])
