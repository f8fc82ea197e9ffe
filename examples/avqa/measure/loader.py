"""Measures reading: a packed store against one float32 `.npy` a feature, read anew for every question as published.

`python -m examples.avqa.measure.loader --out examples/avqa/recorded/loader.json`. Features are synthetic, of the
published sizes; both sides end at a float32 batch in memory, and take the encoded questions from memory. Files are in
the system's cache. The ways take turns, each round in another order. B questions, T frames, D channels.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.markdown import Markdown
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ..annotations import Question, Vocabulary
from ..config import DataConfig
from ..data import Batch, ClipSampler
from ..encoders import MODALITIES, EncodedText, FeatureDims, Purpose, load_encoders
from ..errors import UserError
from ..features import FeatureFolder, FeatureSource
from ..files import write_json
from ..pack import pack
from ..prepare import Prepared
from ..provenance import provenance
from ..question_store import QuestionStore
from ..store import FeatureStore
from .loader_table import loader_table

DIMS = FeatureDims(audio=128, video=768, patches=(14, 1024), question=768, words=768)
FRAMES, WORDS, TEXTS, BATCH = 60, 77, 200, 32
EVALUATED_CLIPS = DataConfig.eval_clips_per_batch
HALF = 2.0**-10
"""Relative distance of half-precision numbers."""


class SyntheticText:
    """Random vectors in place of encoded questions."""

    name = "synthetic"
    dims = DIMS
    words_dtype = torch.float32

    def weights_id(self, purpose: Purpose) -> str:
        """There is one kind only."""
        return ""

    def encode_text(self, texts: Sequence[str]) -> EncodedText:
        """Encodes each text by a generator of its own."""
        words = torch.stack([torch.randn(WORDS, DIMS.words, generator=_generator(text)) for text in texts])
        return EncodedText(words[:, -1], words, torch.zeros(len(texts), WORDS, dtype=torch.bool))


class PublishedDataset(Dataset[dict[str, Tensor]]):
    """One question an item; its clip's three files are read whole, for every question anew."""

    def __init__(self, questions: Sequence[Question], folder: FeatureFolder, store: QuestionStore) -> None:
        self._questions, self._folder, self._store = questions, folder, store
        self._rows = store.rows(question.text for question in questions)

    def __len__(self) -> int:
        return len(self._questions)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        video_id = self._questions[number].video_id
        text = self._store.take(self._rows[number])
        return {
            **{
                name: torch.from_numpy(np.load(self._folder.path(video_id, name), allow_pickle=False))
                for name in MODALITIES
            },
            "question": text.question,
            "words": text.words,
            "answer": torch.tensor(0),
            "number": torch.tensor(number),
        }


def write_folder(root: Path, videos: int) -> FeatureFolder:
    """Synthetic float32 features of the published sizes."""
    folder = FeatureFolder(root, load_encoders("paper").folders)
    generator = np.random.default_rng(0)
    for video in tqdm(range(videos), desc="writing features", unit="video", delay=2):
        for modality in MODALITIES:
            path = folder.path(_id(video), modality)
            path.parent.mkdir(parents=True, exist_ok=True)
            width = getattr(DIMS, modality)
            shape = (FRAMES, *(width if isinstance(width, tuple) else (width,)))
            np.save(path, generator.standard_normal(shape, dtype=np.float32))
    return folder


def ask(videos: int, per_video: int) -> list[Question]:
    """Questions about each video; texts repeat, as in the data set."""
    return [
        Question(_id(number // per_video), str(number), "Audio", "Counting", f"text {number % TEXTS}", "", "yes", "")
        for number in range(videos * per_video)
    ]


def ways(
    questions: list[Question], folder: FeatureFolder, packed: FeatureStore
) -> dict[str, dict[str, Callable[[], Iterable[Any]]]]:
    """What is measured: by case and way, something that gives an epoch's batches."""
    store = QuestionStore(SyntheticText(), None)  # type: ignore[arg-type]  # of encoders it needs name, dims and text
    store.add(question.text for question in questions)
    vocabulary = Vocabulary(("yes", "no"), Path("none"))

    def ours(features: FeatureSource) -> Prepared:
        return Prepared(vocabulary, {"test": questions}, features, store._encoders, store, {})

    def published(order: Sequence[int]) -> DataLoader[dict[str, Tensor]]:
        return DataLoader(PublishedDataset(questions, folder, store), batch_size=BATCH, sampler=order)

    shuffled = [numbers[0] for numbers in ClipSampler(questions, 1, shuffle=True)]
    data = DataConfig(Path(), Path(), Path())
    return {
        "random order": {
            "published": lambda: published(shuffled),
            "ours, folder": lambda: ours(folder).loader("test", BATCH, 1, shuffle=True),
            "ours, store": lambda: ours(packed).loader("test", BATCH, 1, shuffle=True),
        },
        "evaluation": {
            "published": lambda: published(range(len(questions))),
            "ours, folder": lambda: ours(folder).evaluation_loader("test", data, released_expert_order=False),
            "ours, store": lambda: ours(packed).evaluation_loader("test", data, released_expert_order=False),
        },
    }


def check_agreement(cases: Mapping[str, Mapping[str, Callable[[], Iterable[Any]]]]) -> None:
    """Compares the first batches of every way: what reads something else gets no number.

    Raises:
        ValueError: some question's features are others, beyond half precision.
    """
    for case, made in cases.items():
        wanted: dict[int, list[Tensor]] = {}
        for number, parts in _first(made["published"]()):
            wanted[number] = parts
        for way, batches in made.items():
            compared = 0
            for number, parts in _first(batches()):
                for part, other in zip(parts, wanted.get(number, parts), strict=True):
                    if part.dtype != torch.float32 or not torch.allclose(part, other, rtol=HALF, atol=HALF):
                        raise ValueError(f"{case}, {way}: question {number} has other features or words")
                compared += number in wanted
            if not compared:
                raise ValueError(f"{case}, {way}: no question to compare")


def measure(cases: Mapping[str, Mapping[str, Callable[[], Iterable[Any]]]], questions: int, rounds: int) -> list[Any]:
    """Questions a second of every way: median, 20th and 80th percentile of the rounds."""
    names = [(case, way) for case, made in cases.items() for way in made]
    seconds: dict[tuple[str, str], list[float]] = {name: [] for name in names}
    order = random.Random(0)
    for turn in tqdm(range(rounds + 1), desc="rounds"):
        for case, way in order.sample(names, len(names)):
            start = time.perf_counter()
            for _ in cases[case][way]():
                pass
            # The first round warms caches.
            if turn:
                seconds[case, way].append(time.perf_counter() - start)
    rows = []
    for (case, way), taken in seconds.items():
        tenths = quantiles([questions / each for each in taken], n=10, method="inclusive")
        rows.append({"case": case, "way": way, "questions_per_s": [tenths[4], tenths[1], tenths[7]]})
    return rows


def record(root: Path, videos: int, per_video: int, rounds: int) -> dict[str, Any]:
    """All of it: writes, packs, compares, measures."""
    folder = write_folder(root / "features", videos)
    pack(root / "features", root / "store", encoder="paper")
    packed = FeatureStore(root / "store")
    questions = ask(videos, per_video)
    cases = ways(questions, folder, packed)
    check_agreement(cases)
    return {
        "provenance": provenance(),
        "settings": {
            "videos": videos,
            "questions_per_video": per_video,
            "batch": BATCH,
            "evaluated_clips": EVALUATED_CLIPS,
            "frames": FRAMES,
            "widths": {name: getattr(DIMS, name) for name in MODALITIES},
            "rounds": rounds,
            "threads": torch.get_num_threads(),
        },
        "bytes": {name: _bytes(root / name) for name in ("features", "store")},
        "rows": measure(cases, len(questions), rounds),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the table and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the record")
    parser.add_argument("--videos", type=int, default=200, help="synthetic videos, 5.5 MB each on disk")
    parser.add_argument("--questions", type=int, default=5, help="questions about each")
    parser.add_argument("--rounds", type=int, default=7, help="times that each way reads everything")
    parser.add_argument("--folder", type=Path, help="where the features are for the time; by default the system's")
    options = parser.parse_args(arguments)
    if min(options.videos, options.questions) < 1 or options.rounds < 2:
        parser.error("videos and questions are at least 1, rounds at least 2")
    with tempfile.TemporaryDirectory(dir=options.folder) as root:
        made = record(Path(root), options.videos, options.questions, options.rounds)
    write_json(options.out, made)
    Console().print(Markdown(loader_table(made, options.out)))


def _first(batches: Iterable[Any]) -> Iterator[tuple[int, list[Tensor]]]:
    """Number, features and words of each question of the first batch."""
    batch = next(iter(batches))
    if isinstance(batch, Batch):
        for row, numbers in enumerate(batch.numbers.tolist()):
            for column, number in enumerate(numbers):
                if number >= 0:
                    features = [batch.audio[row], batch.video[row], batch.patches[row]]
                    yield number, [*features, batch.question[row, column], batch.words[row, column]]
    else:
        for row, number in enumerate(batch["number"].tolist()):
            yield number, [batch[name][row] for name in (*MODALITIES, "question", "words")]


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _id(video: int) -> str:
    return f"{video:08}"


def _generator(text: str) -> torch.Generator:
    return torch.Generator().manual_seed(int(text.rpartition(" ")[2]))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
