"""Clips and their questions as batches: a clip is read once for all the questions a batch asks about it.

B clips, Q questions of one clip, T frames, N patches of one frame, L words, D channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, Sampler

from .annotations import Question, Vocabulary
from .buffers import empty
from .features import FeatureSource, VideoFeatures
from .prompts import declarative
from .question_store import QuestionStore

NO_ANSWER = -100
"""Stands where a clip of the batch has fewer questions than another; the loss leaves it out."""


class Batch(NamedTuple):
    """A padded batch."""

    audio: Tensor
    """[B, T, D]."""
    video: Tensor
    """[B, T, D]."""
    patches: Tensor
    """[B, T, N, D]."""
    padding_mask: Tensor | None
    """[B, T] bool, True = no frame; None where every clip has T frames."""
    question: Tensor
    """[B, Q, D]."""
    words: Tensor
    """[B, Q, L, D]."""
    words_padding_mask: Tensor
    """[B, Q, L] bool, True = no word."""
    answers: Tensor
    """[B, Q], index of the right answer, or NO_ANSWER."""
    numbers: Tensor
    """[B, Q], the question's place in its list, or -1."""
    prompt: Tensor | None = None
    """[B, Q, D], the declarative prompts; None where the model reads none."""

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(*(part if part is None else part.to(device) for part in self))  # type: ignore[arg-type]  # in the fields' order


class Item(NamedTuple):
    """One clip and some of its questions, or none."""

    features: VideoFeatures
    numbers: list[int]


class AVQADataset(Dataset[Item]):
    """Clips with questions; an item is asked for by the places of questions about one clip, or of none.

    Args:
        questions: what is asked.
        features: where the clips' features are; None for constant features, so that the question alone is left.
        count_padding: whether padded frames count as real ones, as in the published code.
    """

    def __init__(
        self, questions: Sequence[Question], features: FeatureSource | None, count_padding: bool = False
    ) -> None:
        self.questions, self.features, self.count_padding = questions, features, count_padding

    def __len__(self) -> int:
        return len(self.questions)

    def __getitem__(self, numbers: Sequence[int]) -> Item:
        # A process without an item of its own reads some clip, about which nothing is asked.
        video_ids = {self.questions[number].video_id for number in numbers or [0]}
        assert len(video_ids) == 1, "an item's questions are about one clip"
        if self.features is None:
            return Item(constant_features(), list(numbers))
        clip = self.features.load(video_ids.pop())
        return Item(clip._replace(frames=len(clip.video)) if self.count_padding else clip, list(numbers))


def constant_features() -> VideoFeatures:
    """One frame of ones in every modality: says nothing."""
    return VideoFeatures(audio=torch.ones(1, 1), video=torch.ones(1, 1), patches=torch.ones(1, 1, 1), frames=1)


class ClipSampler(Sampler[list[int]]):
    """Items of at most `questions_per_clip` questions about one clip.

    Shuffled anew in each epoch, by `seed` and the epoch alone: a run that resumes sees what it would have seen.
    With one question an item this is the plain random order of all questions.

    Args:
        questions: what is asked.
        questions_per_clip: the most questions of an item; None for all of a clip's.
        shuffle: whether to shuffle; otherwise clips are in the order of their first question, and single questions
            in their own order.
        seed: of the order.
    """

    def __init__(
        self, questions: Sequence[Question], questions_per_clip: int | None, shuffle: bool, seed: int = 0
    ) -> None:
        self._clips: dict[str, list[int]] = {}
        for number, question in enumerate(questions):
            self._clips.setdefault(question.video_id, []).append(number)
        self._most, self._shuffle, self._seed = questions_per_clip, shuffle, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning says which epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(self._parts(len(numbers)) for numbers in self._clips.values())

    def __iter__(self) -> Iterator[list[int]]:
        if self._most == 1 and not self._shuffle:
            return iter([[number] for number in range(sum(map(len, self._clips.values())))])
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self.epoch)
        items = []
        for numbers in self._clips.values():
            order = torch.randperm(len(numbers), generator=generator).tolist() if self._shuffle else range(len(numbers))
            shuffled = [numbers[place] for place in order]
            parts = self._parts(len(numbers))
            items += [shuffled[part::parts] for part in range(parts)]
        if self._shuffle:
            items = [items[place] for place in torch.randperm(len(items), generator=generator).tolist()]
        return iter(items)

    def _parts(self, count: int) -> int:
        return 1 if self._most is None else -(-count // self._most)


class Collate:
    """Makes a `Batch` of items.

    Args:
        questions: the list that item numbers refer to.
        vocabulary: turns answers into indices.
        store: the encoded questions, all of `questions` among them.
        prompts: whether to bring the questions' declarative prompts, which `store` then holds too.
        half: whether features that are half precision on disk stay so, for a GPU to widen them: half to copy there.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        vocabulary: Vocabulary,
        store: QuestionStore,
        prompts: bool = False,
        half: bool = False,
    ) -> None:
        self._answers = torch.tensor([vocabulary.index(question.answer) for question in questions])
        self._rows = store.rows(question.text for question in questions)
        self._prompts = store.sentences(store.rows(map(declarative, questions))) if prompts else None
        self._store = store
        self._half = half

    def __call__(self, items: Sequence[Item]) -> Batch:
        frames = torch.tensor([item.features.frames for item in items])
        audio = together([item.features.audio for item in items], self._half)
        padding = torch.arange(audio.shape[1]) >= frames.unsqueeze(-1)
        numbers = pad_sequence(
            [torch.tensor(item.numbers or [-1]) for item in items], batch_first=True, padding_value=-1
        )
        asked = numbers >= 0
        rows = self._rows[numbers.clamp(min=0)]
        # Where a clip has no further question some other stands in: it is encoded, but no loss or table counts it.
        text = self._store.take(rows)
        longest = max(int((~text.padding_mask).sum(-1).max()), 1)
        return Batch(
            audio=audio,
            video=together([item.features.video for item in items], self._half),
            patches=together([item.features.patches for item in items], self._half),
            padding_mask=padding if bool(padding.any()) else None,
            question=text.question,
            words=text.words[:, :, :longest].float(),
            words_padding_mask=text.padding_mask[:, :, :longest],
            answers=self._answers[numbers.clamp(min=0)].masked_fill(~asked, NO_ANSWER),
            numbers=numbers,
            prompt=None if self._prompts is None else self._prompts[numbers.clamp(min=0)],
        )


def together(clips: Sequence[Tensor], half: bool = False) -> Tensor:
    """Features [T, ...] of clips as one [B, longest T, ...], 0 where a clip has ended.

    Widened to single precision while they are copied; `half` leaves them as they are where all are in half.
    """
    kept = half and all(clip.dtype == torch.float16 for clip in clips)
    longest = max(map(len, clips))
    batch = empty((len(clips), longest, *clips[0].shape[1:]), torch.float16 if kept else torch.float32)
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)].copy_(clip)
        row[len(clip) :].zero_()
    return batch
