"""Questions are encoded once, kept in a file, and do not influence each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from examples.avqa.encoders import EncodedText, Purpose, load_encoders
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
    written = QuestionStore(StubEncoders(), tmp_path / "questions.safetensors")
    written.add(TEXTS)
    encoders = StubEncoders()
    read = QuestionStore(encoders, tmp_path / "questions.safetensors")
    read.add(TEXTS)
    assert encoders.asked == []
    for name in ("question", "words", "padding_mask"):
        assert torch.equal(getattr(read, name), getattr(written, name))
    assert torch.equal(read.rows(TEXTS), written.rows(TEXTS))
    read.add(["another one"])
    assert encoders.asked == ["another one"]
    assert len(QuestionStore(StubEncoders(), tmp_path / "questions.safetensors")) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["questions.safetensors"]


def test_nothing_new_leaves_the_file_alone(tmp_path: Path) -> None:
    cache = tmp_path / "questions.safetensors"
    QuestionStore(StubEncoders(), cache).add(TEXTS)
    cache.chmod(0o444)
    before = cache.stat().st_mtime_ns
    QuestionStore(StubEncoders(), cache).add(TEXTS)
    assert cache.stat().st_mtime_ns == before


def _changed(cache: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    with safe_open(cache, framework="pt") as stored:
        metadata, arrays = stored.metadata(), {key: stored.get_tensor(key).clone() for key in stored.keys()}  # noqa: SIM118
    save_file(arrays | {name: change(arrays[name]).contiguous()}, cache, metadata)


@pytest.mark.parametrize(
    "damage",
    [
        lambda cache: cache.write_bytes(b""),
        lambda cache: cache.write_text("hello"),
        lambda cache: cache.write_bytes(cache.read_bytes()[:-100]),
        lambda cache: save_file({"question": torch.zeros(3, 4)}, cache),
        lambda cache: _changed(cache, "question", lambda rows: rows[:-1]),
        lambda cache: _changed(cache, "words", lambda rows: rows[..., :-1]),
    ],
    ids=["empty", "text", "truncated", "parts missing", "a row missing", "another width"],
)
def test_a_broken_file_is_named(tmp_path: Path, damage: object) -> None:
    cache = tmp_path / "questions.safetensors"
    QuestionStore(StubEncoders(), cache).add(TEXTS)
    assert callable(damage)
    damage(cache)
    with pytest.raises(UserError, match=r"questions\.safetensors.*delete it"):
        QuestionStore(StubEncoders(), cache)


class WeightsEncoders(StubEncoders):
    """With weights that have an id, or cannot be found; words in half precision."""

    words_dtype = torch.float16

    def __init__(self, weights: str | None) -> None:
        super().__init__()
        self._weights = weights

    def weights_id(self, purpose: Purpose) -> str:
        """The id of the weights for texts."""
        if self._weights is None:
            raise UserError("weights: missing")
        return f"{purpose} {self._weights}"


def test_a_file_of_other_weights_is_refused(tmp_path: Path) -> None:
    cache = tmp_path / "questions.safetensors"
    QuestionStore(WeightsEncoders("one"), cache).add(TEXTS)
    assert len(QuestionStore(WeightsEncoders("one"), cache)) == 3
    with pytest.raises(UserError, match=r"questions\.safetensors: encoded by other weights of preset 'stub'"):
        QuestionStore(WeightsEncoders("two"), cache)


def test_what_is_encoded_can_be_used_without_weights_and_nothing_added(tmp_path: Path) -> None:
    cache = tmp_path / "questions.safetensors"
    QuestionStore(WeightsEncoders("one"), cache).add(TEXTS)
    store = QuestionStore(WeightsEncoders(None), cache)
    store.add(TEXTS[:2])
    with pytest.raises(UserError, match="weights: missing"):
        store.add(["another one"])


def test_words_are_kept_in_the_presets_precision(tmp_path: Path) -> None:
    cache = tmp_path / "questions.safetensors"
    QuestionStore(WeightsEncoders("one"), cache).add(TEXTS)
    store = QuestionStore(WeightsEncoders("one"), cache)
    assert store.words.dtype == torch.float16
    assert store.question.dtype == torch.float32
    torch.testing.assert_close(
        _vectors(store, TEXTS[0])[1].float(), StubEncoders().encode_text(TEXTS[:1]).words[0], atol=2e-3, rtol=1e-3
    )


def test_the_file_is_the_same_whenever_it_is_written(tmp_path: Path) -> None:
    for name in "ab":
        QuestionStore(StubEncoders(), tmp_path / name).add(TEXTS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_long_work_is_saved_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.avqa.question_store.SAVED", 2)

    class Interrupted(StubEncoders):
        def encode_text(self, texts: Sequence[str]) -> EncodedText:
            if len(self.asked) >= 2:
                raise KeyboardInterrupt
            return super().encode_text(texts)

    with pytest.raises(KeyboardInterrupt):
        QuestionStore(Interrupted(), tmp_path / "questions.safetensors").add(TEXTS)
    assert len(QuestionStore(StubEncoders(), tmp_path / "questions.safetensors")) == 2


def test_a_file_of_another_preset_is_refused(tmp_path: Path) -> None:
    cache = tmp_path / "questions.safetensors"
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
