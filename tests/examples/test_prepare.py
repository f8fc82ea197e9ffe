"""Data is checked before anything is trained: annotations, answers and feature files."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from examples.avqa.errors import UserError
from examples.avqa.prepare import prepare
from tests.examples.tiny_run import TinyData, everything, write_features


def test_splits_features_and_questions_are_read(own: TinyData) -> None:
    prepared = prepare(own.config)
    assert {split: len(questions) for split, questions in prepared.questions.items()} == {
        "train": 14,
        "val": 7,
        "test": 11,
    }
    assert prepared.feature_dims == {"audio": 256, "video": 1280, "patches": 1288, "question": 384, "words": 384}
    assert prepared.vocabulary.answers[2] == "two"
    assert len(prepared.store) == 4


def test_a_split_without_a_file_is_left_out(own: TinyData) -> None:
    assert set(prepare(replace(own.config, test=None)).questions) == {"train", "val"}


def test_questions_are_kept_beside_the_features_or_where_it_is_said(own: TinyData, tmp_path: Path) -> None:
    cache = own.root / "features" / "questions"
    (kept,) = cache.iterdir()
    assert kept.stat().st_size > 1000
    shutil.rmtree(cache)
    prepare(replace(own.config, questions_cache=tmp_path / "q"))
    assert not cache.exists()
    (tmp_path / "q").rename(cache)
    before = everything(own.root)
    prepare(own.config)
    assert everything(own.root) == before


def test_a_loader_gives_every_question_with_its_clip(own: TinyData) -> None:
    prepared = prepare(own.config)
    numbers = []
    for batch in prepared.loader("train", 3, 2, shuffle=True, seed=3):
        assert len(batch.audio) <= 3
        for row, clip in enumerate(batch.numbers):
            for number in clip[clip >= 0].tolist():
                numbers.append(number)
                features = own.folder.load(prepared.questions["train"][number].video_id)
                assert torch.equal(batch.audio[row, : features.frames], features.audio)
    assert sorted(numbers) == list(range(14))


def test_loading_draws_nothing_from_the_global_generator(own: TinyData) -> None:
    prepared = prepare(own.config)
    before = torch.get_rng_state()
    list(prepared.loader("train", 3, 2, shuffle=True, seed=3))
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_are_the_splits_frames_and_words(own: TinyData) -> None:
    write_features(own, "train_0", frames=3, seed=0, real=1)
    samples = prepare(own.config).samples("train", seed=1)
    # Clips of 1 real, 4, 3 and 4 frames, 7 patches each.
    assert {name: list(tensor.shape) for name, tensor in samples.items()} == {
        "audio": [12, 256],
        "video": [12, 1280],
        "patches": [84, 1288],
        "question": [4, 384],
        "words": [samples["words"].shape[0], 384],
    }
    assert samples["words"].abs().sum(-1).min() > 0


@pytest.mark.parametrize("name", ["clips_per_batch", "questions_per_clip", "eval_clips_per_batch"])
def test_a_batch_holds_something(own: TinyData, name: str) -> None:
    with pytest.raises(UserError, match=f"{name} must be at least 1, got 0"):
        prepare(replace(own.config, **dict[str, Any]({name: 0})))


def test_folders_of_other_names_are_read_up_to_so_many_frames(own: TinyData) -> None:
    (own.root / "features/logmel").rename(own.root / "features/sound")
    with pytest.raises(UserError, match="unknown modality noise"):
        prepare(replace(own.config, folders={"noise": "sound"}))
    prepared = prepare(replace(own.config, folders={"audio": "sound"}, frames=1))
    batch = next(iter(prepared.loader("val", 2, None)))
    assert (batch.audio.shape, batch.patches.shape) == ((2, 1, 256), (2, 1, 7, 1288))


def test_fewer_workers_than_none_are_refused(own: TinyData) -> None:
    with pytest.raises(UserError, match="workers must be at least 0, got -1"):
        prepare(replace(own.config, workers=-1))


def _spoil(own: TinyData, kind: str) -> None:
    path = own.folder.path("val_1", "audio")
    array = np.load(path)
    if kind == "missing":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:300])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "other width":
        np.save(path, array[:, :7])
    elif kind == "other length":
        np.save(path, array[:1])
    elif kind == "objects":
        np.save(path, np.array([None, {}], dtype=object), allow_pickle=True)
    else:
        np.save(path, array.astype(np.int64))


@pytest.mark.parametrize(
    "kind", ["missing", "truncated", "empty", "other width", "other length", "objects", "whole numbers"]
)
def test_a_spoilt_feature_file_is_named(own: TinyData, kind: str) -> None:
    _spoil(own, kind)
    with pytest.raises(UserError, match=r"val_1.*extract these videos again"):
        prepare(own.config)
