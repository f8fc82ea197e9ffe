"""From a `DataConfig` to checked questions, features and loaders: every fault of the data is found here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from .annotations import Question, Vocabulary, load_questions, load_vocabulary
from .batches import GlobalBatches, PatientLoader
from .config import DataConfig, ModelConfig, check_data_numbers
from .data import AVQADataset, ClipSampler, Collate, Item, constant_features
from .encoders import Encoders, FeatureDims, load_encoders
from .features import FeatureSource, open_features, renamed
from .prompts import declarative
from .question_store import QuestionStore

QUESTIONS = "questions"
"""Folder of the encoded questions, in that of the features."""
SAMPLED_CLIPS = 256
"""Clips whose features the whitening is fitted to."""


@dataclass(frozen=True)
class Prepared:
    """Checked data, ready to be loaded."""

    vocabulary: Vocabulary
    questions: Mapping[str, list[Question]]
    """By split."""
    features: FeatureSource | None
    encoders: Encoders
    store: QuestionStore
    feature_dims: Mapping[str, int]
    """Channels of audio, video, patches, question and words."""
    prompts: bool = False
    """Whether batches bring the questions' declarative prompts."""
    count_padding: bool = False
    """Whether padded frames count as real ones, as in the published code."""
    workers: int = 0
    """Processes that read ahead."""
    for_gpu: bool = False
    """Whether batches are made to be copied to a GPU: pinned, and in half precision where features are."""

    def for_model(self, config: ModelConfig) -> Prepared:
        """This data as a model reads it: TSPM also gets declarative prompts, which are encoded now."""
        if config.architecture != "tspm":
            return self
        self.store.add(declarative(question) for part in self.questions.values() for question in part)
        return replace(self, prompts=True)

    def loader(
        self,
        split: str,
        clips_per_batch: int,
        questions_per_clip: int | None,
        shuffle: bool = False,
        seed: int = 0,
        alone: bool = False,
    ) -> PatientLoader:
        """Batches of one split; `questions_per_clip` None asks all of a clip's questions at once.

        They are shared by all processes, unless this one does everything `alone`.
        """
        questions = self.questions[split]
        return PatientLoader(
            AVQADataset(questions, self.features, self.count_padding),
            GlobalBatches(ClipSampler(questions, questions_per_clip, shuffle, seed), clips_per_batch, alone),
            Collate(questions, self.vocabulary, self.store, self.prompts, half=self.for_gpu),
            seed,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=self.for_gpu,
        )

    def evaluation_loader(
        self, split: str, data: DataConfig, released_expert_order: bool, alone: bool = False
    ) -> DataLoader[Item]:
        """All of a clip's questions at once.

        With the published indexing, as the released accuracy was measured: single questions in the file's order,
        in batches as large as in training.
        """
        if released_expert_order:
            return self.loader(split, data.clips_per_batch, 1, alone=alone)
        return self.loader(split, data.eval_clips_per_batch, None, alone=alone)

    def samples(self, split: str, seed: int) -> dict[str, Tensor]:
        """Features of some clips and all questions of a split, [N, D] each, to fit a whitening to."""
        video_ids = sorted({question.video_id for question in self.questions[split]})
        order = torch.randperm(len(video_ids), generator=torch.Generator().manual_seed(seed))[:SAMPLED_CLIPS]
        clips = [self.features.load(video_ids[place]) for place in order.tolist()] if self.features else []
        clips = clips or [constant_features()] * 2
        text = self.store.take(self.store.rows({question.text: None for question in self.questions[split]}))
        return {
            "audio": torch.cat([clip.audio[: clip.frames] for clip in clips]).float(),
            "video": torch.cat([clip.video[: clip.frames] for clip in clips]).float(),
            "patches": torch.cat([clip.patches[: clip.frames].flatten(0, 1) for clip in clips]).float(),
            "question": text.question,
            "words": text.words[~text.padding_mask].float(),
        }


def prepare(
    data: DataConfig,
    splits: Sequence[str] = ("train", "val", "test"),
    features_of: Sequence[str] | None = None,
    for_gpu: bool | None = None,
) -> Prepared:
    """Reads annotations, checks every feature file, encodes the questions.

    Args:
        data: where everything is.
        splits: which of train, val and test to read; a split without a file is left out.
        features_of: the splits whose features are needed; by default all of `splits`.
        for_gpu: whether batches are made to be copied to a GPU; by default where there is one.

    Raises:
        UserError: a file is missing, broken or of another shape, or names something unknown.
    """
    check_data_numbers(data)
    vocabulary = load_vocabulary(data.answers)
    paths: dict[str, Path | None] = {"train": data.train, "val": data.val, "test": data.test}
    questions = {split: load_questions(path, vocabulary) for split in splits if (path := paths[split]) is not None}
    encoders = load_encoders(data.encoder, data.weights)
    features = None
    if data.features is not None:
        features = open_features(data.features, renamed(encoders.folders, data.folders), data.frames)
        needed = [part for split, part in questions.items() if features_of is None or split in features_of]
        video_ids = sorted({question.video_id for part in needed for question in part})
        features.check(video_ids, encoders.dims)
        features.check_values(video_ids)
    cache = data.questions_cache
    if cache is None and data.features is not None:
        cache = data.features / QUESTIONS
    store = QuestionStore(encoders, cache)
    store.add(question.text for part in questions.values() for question in part)
    dims = feature_dims(encoders.dims, constant=data.features is None)
    for_gpu = torch.cuda.is_available() if for_gpu is None else for_gpu
    return Prepared(vocabulary, questions, features, encoders, store, dims, workers=data.workers, for_gpu=for_gpu)


def feature_dims(dims: FeatureDims, constant: bool) -> dict[str, int]:
    """Channels of audio, video, patches, question and words; `constant` features stand in for the first three."""
    widths = {"audio": dims.audio, "video": dims.video, "patches": dims.patches[1]}
    if constant:
        widths = dict.fromkeys(widths, 1)
    return widths | {"question": dims.question, "words": dims.words}
