"""Questions are encoded once, kept in a file, and do not influence each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from examples.avqa.encoders import load_encoders
from examples.avqa.errors import UserError
from examples.avqa.question_store import CHUNK, QuestionStore
from tests.examples.tiny_run import StubEncoders

TEXTS = ["is there a flute", "how many", "which instrument sounds first on the left"]


def _vectors(store: QuestionStore, text: str) -> tuple[torch.Tensor, torch.Tensor]:
    (row,) = store.rows([text]).tolist()
    return store.question[row], store.words[row][~store.padding_mask[row]]


def test_rows_are_the_texts_own_vectors() -> None:
    store = QuestionStore(StubEncoders(), None)
    store.add(TEXTS)
    for text in TEXTS:
        alone = StubEncoders().encode_text([text])
        question, words = _vectors(store, text)
        assert torch.equal(question, alone.question[0])
        assert torch.equal(words, alone.words[0])


def test_a_text_is_encoded_once() -> None:
    encoders = StubEncoders()
    store = QuestionStore(encoders, None)
    store.add([TEXTS[0], TEXTS[0], TEXTS[1]])
    store.add(TEXTS)
    assert sorted(encoders.asked) == sorted(TEXTS)
    assert len(store) == 3


def test_longer_texts_may_come_later_and_rows_stay() -> None:
    store = QuestionStore(StubEncoders(), None)
    store.add(TEXTS[:2])
    before, rows = _vectors(store, TEXTS[0]), store.rows(TEXTS[:2])
    store.add(TEXTS)
    assert store.words.shape[1] == 7
    assert torch.equal(store.rows(TEXTS[:2]), rows)
    assert all(torch.equal(old, new) for old, new in zip(before, _vectors(store, TEXTS[0]), strict=True))


def test_more_texts_than_a_chunk() -> None:
    texts = [f"{'word ' * (number % 5)}number {number}" for number in range(2 * CHUNK + 3)]
    store = QuestionStore(StubEncoders(), None)
    store.add(texts)
    for text in (texts[0], texts[CHUNK], texts[-1]):
        assert torch.equal(_vectors(store, text)[1], StubEncoders().encode_text([text]).words[0])


def test_the_file_gives_back_what_was_encoded(tmp_path: Path) -> None:
    written = QuestionStore(StubEncoders(), tmp_path / "questions.npz")
    written.add(TEXTS)
    encoders = StubEncoders()
    read = QuestionStore(encoders, tmp_path / "questions.npz")
    read.add(TEXTS)
    assert encoders.asked == []
    for name in ("question", "words", "padding_mask"):
        assert torch.equal(getattr(read, name), getattr(written, name))
    assert torch.equal(read.rows(TEXTS), written.rows(TEXTS))
    read.add(["another one"])
    assert encoders.asked == ["another one"]
    assert len(QuestionStore(StubEncoders(), tmp_path / "questions.npz")) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["questions.npz"]


def test_nothing_new_leaves_the_file_alone(tmp_path: Path) -> None:
    cache = tmp_path / "questions.npz"
    QuestionStore(StubEncoders(), cache).add(TEXTS)
    cache.chmod(0o444)
    before = cache.stat().st_mtime_ns
    QuestionStore(StubEncoders(), cache).add(TEXTS)
    assert cache.stat().st_mtime_ns == before


def _other_shapes(cache: Path) -> None:
    with np.load(cache) as stored:
        arrays = dict(stored)
    np.savez(cache, **(arrays | {"question": arrays["question"][:-1]}))


def _other_width(cache: Path) -> None:
    with np.load(cache) as stored:
        arrays = dict(stored)
    np.savez(cache, **(arrays | {"words": arrays["words"][..., :-1]}))


def _one_array(cache: Path) -> None:
    with cache.open("wb") as file:
        np.save(file, np.zeros(3))


@pytest.mark.parametrize(
    "damage",
    [
        lambda cache: cache.write_bytes(b""),
        lambda cache: cache.write_text("hello"),
        lambda cache: cache.write_bytes(cache.read_bytes()[:-100]),
        _one_array,
        lambda cache: np.savez(cache, preset=np.array("stub")),
        _other_shapes,
        _other_width,
    ],
    ids=["empty", "text", "truncated", "one array", "parts missing", "a row missing", "another width"],
)
def test_a_broken_file_is_named(tmp_path: Path, damage: object) -> None:
    cache = tmp_path / "questions.npz"
    QuestionStore(StubEncoders(), cache).add(TEXTS)
    assert callable(damage)
    damage(cache)
    with pytest.raises(UserError, match=r"questions\.npz.*delete it"):
        QuestionStore(StubEncoders(), cache)


def test_a_file_of_another_preset_is_refused(tmp_path: Path) -> None:
    cache = tmp_path / "questions.npz"
    QuestionStore(StubEncoders(), cache).add(TEXTS)
    with pytest.raises(UserError, match="preset 'stub', wanted 'small'"):
        QuestionStore(load_encoders("small"), cache)


def test_the_real_encoder_gives_a_text_the_same_vectors_in_any_company() -> None:
    encoders = load_encoders("small")
    alone, together = QuestionStore(encoders, None), QuestionStore(encoders, None)
    alone.add([TEXTS[1]])
    together.add([*TEXTS, "a much longer question about every instrument that is heard or seen in the video"])
    for one, other in zip(_vectors(alone, TEXTS[1]), _vectors(together, TEXTS[1]), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
