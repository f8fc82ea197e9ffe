"""Batches: every question once an epoch, one clip an item, padding that changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence

from examples.avqa.annotations import Question, Vocabulary
from examples.avqa.data import NO_ANSWER, AVQADataset, ClipSampler, Collate, Item, constant_features, together
from examples.avqa.features import VideoFeatures
from examples.avqa.question_store import QuestionStore
from tests.examples.tiny_run import StubEncoders, TinyData

VOCABULARY = Vocabulary(("yes", "no"), Path("answers.json"))


def _questions(video_ids: Sequence[str], texts: Sequence[str] = ("a b", "a b c d", "a")) -> list[Question]:
    return [
        Question(video, str(n), "Audio", "Counting", texts[n % len(texts)], "", ("yes", "no")[n % 2], "")
        for n, video in enumerate(video_ids)
    ]


def _features(frames: int, real: int | None = None) -> VideoFeatures:
    return VideoFeatures(
        torch.randn(frames, 2), torch.randn(frames, 3), torch.randn(frames, 2, 4), frames if real is None else real
    )


def _collate(questions: list[Question]) -> Collate:
    store = QuestionStore(StubEncoders(), None)
    store.add(question.text for question in questions)
    return Collate(questions, VOCABULARY, store)


@given(
    clips=st.lists(st.integers(0, 5), min_size=1, max_size=30),
    most=st.one_of(st.none(), st.integers(1, 6)),
    shuffle=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_an_epoch_asks_every_question_once_and_an_item_is_about_one_clip(
    clips: list[int], most: int | None, shuffle: bool, seed: int
) -> None:
    questions = _questions([str(clip) for clip in clips])
    items = list(sampler := ClipSampler(questions, most, shuffle, seed))
    assert sorted(number for item in items for number in item) == list(range(len(questions)))
    assert len(items) == len(sampler)
    sizes: dict[int, list[int]] = {}
    for item in items:
        (clip,) = {clips[number] for number in item}
        sizes.setdefault(clip, []).append(len(item))
    for of_clip in sizes.values():
        assert max(of_clip) - min(of_clip) <= 1
        assert most is None or max(of_clip) <= most
        assert most is not None or len(of_clip) == 1


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    questions = _questions([str(n % 7) for n in range(40)])
    sampler = ClipSampler(questions, 2, True, seed=5)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        torch.manual_seed(epoch + 100)
        orders.append(list(sampler))
        torch.manual_seed(0)
        assert list(sampler) == orders[-1]
    fresh = ClipSampler(questions, 2, True, seed=5)
    fresh.set_epoch(2)
    assert list(fresh) == orders[2]
    assert orders[0] != orders[1] != orders[2]
    assert list(ClipSampler(questions, 2, True, seed=6)) != orders[0]


def test_an_epoch_splits_a_clips_questions_otherwise_than_the_last() -> None:
    sampler = ClipSampler(_questions(["a"] * 8), 4, True)
    pairs = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        pairs.append({frozenset(item) for item in sampler})
    assert pairs[0] != pairs[1]


def test_without_shuffling_items_come_in_the_order_of_their_first_question() -> None:
    assert list(ClipSampler(_questions(["b", "a", "b", "c"]), None, False)) == [[0, 2], [1], [3]]


def test_an_item_about_two_clips_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="one clip"):
        AVQADataset(_questions(["a", "b"]), None)[[0, 1]]


def test_without_features_a_clip_says_nothing() -> None:
    dataset = AVQADataset(_questions(["a", "b"]), None)
    assert all(
        torch.equal(one, other) for one, other in zip(dataset[[0]].features[:3], dataset[[1]].features[:3], strict=True)
    )


def test_a_batch_holds_each_clip_and_its_questions() -> None:
    questions = _questions(["a", "b", "a", "b", "a"])
    one, other = _features(3), _features(5)
    batch = _collate(questions)([Item(one, [0, 2, 4]), Item(other, [3])])
    assert batch.audio.shape == (2, 5, 2)
    assert torch.equal(batch.audio[0, :3], one.audio)
    assert torch.equal(batch.video[1], other.video)
    assert torch.equal(batch.patches[0, :3], one.patches)
    assert batch.padding_mask is not None
    assert batch.padding_mask.tolist() == [[False] * 3 + [True] * 2, [False] * 5]
    assert batch.numbers.tolist() == [[0, 2, 4], [3, -1, -1]]
    assert batch.answers.tolist() == [[0, 0, 0], [1, NO_ANSWER, NO_ANSWER]]
    wanted = StubEncoders().encode_text([questions[2].text])
    assert torch.equal(batch.question[0, 1], wanted.question[0])
    assert torch.equal(batch.words[0, 1][~batch.words_padding_mask[0, 1]], wanted.words[0])


def test_words_are_cut_to_the_longest_question_of_the_batch() -> None:
    questions = _questions(["a", "b", "c"])
    collate = _collate(questions)
    assert collate([Item(_features(2), [0]), Item(_features(2), [2])]).words.shape[2] == 2
    batch = collate([Item(_features(2), [1])])
    assert batch.words.shape[2] == 4
    assert not batch.words_padding_mask.any()


def test_clips_of_one_length_need_no_mask() -> None:
    batch = _collate(_questions(["a", "b"]))([Item(_features(4), [0]), Item(_features(4), [1])])
    assert batch.padding_mask is None


def test_frames_that_the_index_calls_padding_are_masked() -> None:
    collate = _collate(_questions(["a", "b"]))
    batch = collate([Item(_features(4, real=2), [0]), Item(_features(4), [1])])
    assert batch.padding_mask is not None
    assert batch.padding_mask.tolist() == [[False, False, True, True], [False] * 4]


def test_the_folders_padded_frames_reach_the_mask(own: TinyData) -> None:
    from tests.examples.tiny_run import write_features

    write_features(own, "short", frames=4, seed=1, real=1)
    item = AVQADataset(_questions(["short"]), own.folder)[[0]]
    mask = _collate(_questions(["short"]))([item]).padding_mask
    assert mask is not None
    assert mask.tolist() == [[False, True, True, True]]


def test_half_precision_is_widened_exactly_in_the_batch_or_after_it() -> None:
    whole = [_features(3), _features(5)]
    clips = [VideoFeatures(one.audio.half(), one.video.half(), one.patches.half(), one.frames) for one in whole]
    items = [Item(clip, [place]) for place, clip in enumerate(clips)]
    questions = _questions(["a", "b"])
    wide = _collate(questions)(items)
    store = QuestionStore(StubEncoders(), None)
    store.add(question.text for question in questions)
    half = Collate(questions, VOCABULARY, store, half=True)(items)
    for name in ("audio", "video", "patches"):
        here, there = getattr(wide, name), getattr(half, name)
        assert (here.dtype, there.dtype) == (torch.float32, torch.float16)
        assert torch.equal(here, there.float())
    assert torch.equal(wide.video[0, :3], clips[0].video.float())
    # One clip in single precision makes the batch so.
    mixed = [items[0], Item(_features(2), [1])]
    assert Collate(questions, VOCABULARY, store, half=True)(mixed).video.dtype == torch.float32


@pytest.mark.parametrize("frames", [1, 3000])
def test_batches_of_any_size_are_zero_where_a_clip_has_ended(frames: int) -> None:
    """3000 frames take large pages."""
    clips = [torch.full((frames, 16, 64), 1.0), torch.full((2 * frames, 16, 64), 2.0)]
    batch = together(clips)
    assert torch.equal(batch, pad_sequence(clips, batch_first=True))
    del clips
    batch.add_(1)
    assert float(batch.sum()) == 16 * 64 * frames * (2 + 1 + 3 + 3)


def test_a_batch_moves_whole() -> None:
    batch = _collate(_questions(["a"]))([Item(constant_features(), [0])]).to(torch.device("meta"))
    assert all(part is None or part.is_meta for part in batch)
    assert batch.padding_mask is None


def test_single_questions_that_are_not_shuffled_keep_their_order() -> None:
    questions = _questions(["b", "a", "b", "c", "a"])
    assert list(ClipSampler(questions, 1, shuffle=False)) == [[0], [1], [2], [3], [4]]
