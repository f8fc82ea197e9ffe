"""Questions are encoded once, kept in a file, and do not influence each other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from examples.avqa.encoders import EncodedText, Purpose, load_encoders
from examples.avqa.errors import UserError
from examples.avqa.files import written_whole
from examples.avqa.question_store import CHUNK, QuestionStore
from tests.examples.tiny_run import StubEncoders

TEXTS = ["is there a flute", "how many", "which instrument sounds first on the left"]


def _vectors(store: QuestionStore, text: str) -> tuple[torch.Tensor, torch.Tensor]:
    text_ = store.take(store.rows([text])[0])
    return text_.question, text_.words[~text_.padding_mask]


def _part(cache: Path) -> Path:
    (path,) = cache.iterdir()
    return path


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
    assert store.take(store.rows(TEXTS)).words.shape[1] == 7
    assert torch.equal(store.rows(TEXTS[:2]), rows)
    assert all(torch.equal(old, new) for old, new in zip(before, _vectors(store, TEXTS[0]), strict=True))


def test_more_texts_than_a_chunk() -> None:
    texts = [f"{'word ' * (number % 5)}number {number}" for number in range(2 * CHUNK + 3)]
    store = QuestionStore(StubEncoders(), None)
    store.add(texts)
    for text in (texts[0], texts[CHUNK], texts[-1]):
        assert torch.equal(_vectors(store, text)[1], StubEncoders().encode_text([text]).words[0])


def test_the_folder_gives_back_what_was_encoded(tmp_path: Path) -> None:
    written = QuestionStore(StubEncoders(), tmp_path / "questions")
    written.add(TEXTS)
    encoders = StubEncoders()
    read = QuestionStore(encoders, tmp_path / "questions")
    read.add(TEXTS)
    assert encoders.asked == []
    for ours, theirs in zip(*(each.take(each.rows(TEXTS)) for each in (read, written)), strict=True):
        assert torch.equal(ours, theirs)
    read.add(["another one"])
    assert encoders.asked == ["another one"]
    assert len(QuestionStore(StubEncoders(), tmp_path / "questions")) == 4
    assert [path.suffix for path in (tmp_path / "questions").iterdir()] == [".safetensors"] * 2


def test_rows_of_any_shape_over_several_parts(tmp_path: Path) -> None:
    store, together = QuestionStore(StubEncoders(), tmp_path), QuestionStore(StubEncoders(), None)
    for text in TEXTS:
        store.add([text])
    together.add(TEXTS)
    chosen = [[TEXTS[2], TEXTS[0], TEXTS[0]], [TEXTS[1], TEXTS[2], TEXTS[1]]]
    got, wanted = (each.take(torch.stack([each.rows(row) for row in chosen])) for each in (store, together))
    assert got.words.shape[:2] == (2, 3)
    for ours, theirs in zip(got, wanted, strict=True):
        assert torch.equal(ours, theirs)
    rows = store.rows(TEXTS)
    assert torch.equal(store.sentences(rows), together.take(together.rows(TEXTS)).question)


def test_processes_that_share_a_folder_do_no_harm(tmp_path: Path) -> None:
    """Both read the empty folder before either writes."""
    one, other = QuestionStore(StubEncoders(), tmp_path), QuestionStore(StubEncoders(), tmp_path)
    one.add(TEXTS[:2])
    other.add(TEXTS[1:])
    one.add(["another one"])
    third = QuestionStore(StubEncoders(), tmp_path)
    alone = StubEncoders()
    assert len(third) == 4
    for store, texts in ((one, TEXTS[:2]), (other, TEXTS[1:]), (third, TEXTS)):
        for text in texts:
            question, words = _vectors(store, text)
            assert torch.equal(question, alone.encode_text([text]).question[0])
            assert torch.equal(words, alone.encode_text([text]).words[0])


def test_what_another_process_is_writing_is_not_read_and_what_a_killed_one_left_goes(tmp_path: Path) -> None:
    QuestionStore(StubEncoders(), tmp_path).add(TEXTS[:1])
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with written_whole(tmp_path / "other.safetensors") as writing:
        writing.write_bytes(b"half")
        killed = writing.with_name(writing.name.replace(f".{os.getpid()}.", f".{dead.pid}."))
        killed.write_bytes(b"half")
        # By a host of another name, of whose processes nothing is known.
        elsewhere = writing.rename(tmp_path / ".other.00000000.1.tmp.safetensors")
        store = QuestionStore(StubEncoders(), tmp_path)
        assert len(store) == 1
        store.add(TEXTS)
        assert not killed.exists()
        elsewhere.rename(writing)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_only_be_read_is_named(tmp_path: Path) -> None:
    cache = tmp_path / "features" / "questions"
    QuestionStore(StubEncoders(), cache).add(TEXTS[:2])
    cache.chmod(0o555)
    store = QuestionStore(StubEncoders(), cache)
    store.add(TEXTS[:2])
    with pytest.raises(UserError, match=r"cannot be written there .* name a folder with data\.questions_cache"):
        store.add(TEXTS)


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written there .* name a folder with data\.questions_cache"):
        QuestionStore(StubEncoders(), tmp_path / "file" / "questions").add(TEXTS)
    with pytest.raises(UserError, match="must be a folder of encoded questions; move the file into one"):
        QuestionStore(StubEncoders(), tmp_path / "file")


def test_another_user_may_read_what_is_encoded_or_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    QuestionStore(StubEncoders(), cache).add(TEXTS)
    (tmp_path / "any").touch()
    assert _part(cache).stat().st_mode == (tmp_path / "any").stat().st_mode

    def refused(*_: object) -> None:
        raise PermissionError

    # Root may read all.
    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(UserError, match="may not be read; change its permissions"):
        QuestionStore(StubEncoders(), cache)


def test_nothing_new_leaves_the_file_alone(tmp_path: Path) -> None:
    cache = tmp_path / "questions"
    QuestionStore(StubEncoders(), cache).add(TEXTS)
    before = _part(cache).stat().st_mtime_ns
    QuestionStore(StubEncoders(), cache).add(TEXTS)
    assert _part(cache).stat().st_mtime_ns == before


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
    cache = tmp_path / "questions"
    QuestionStore(StubEncoders(), cache).add(TEXTS)
    assert callable(damage)
    damage(_part(cache))
    with pytest.raises(UserError, match=r"questions/.*\.safetensors.*delete it"):
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


def test_parts_of_other_weights_are_left_alone(tmp_path: Path) -> None:
    cache = tmp_path / "questions"
    QuestionStore(WeightsEncoders("one"), cache).add(TEXTS)
    assert len(QuestionStore(WeightsEncoders("one"), cache)) == 3
    other = QuestionStore(WeightsEncoders("two"), cache)
    assert len(other) == 0
    other.add(TEXTS[:1])
    assert [len(QuestionStore(WeightsEncoders(name), cache)) for name in ("one", "two")] == [3, 1]
    with pytest.raises(UserError, match="weights: missing"):
        QuestionStore(WeightsEncoders(None), cache)


def test_the_hub_is_asked_only_where_there_is_something_to_encode(tmp_path: Path) -> None:
    QuestionStore(WeightsEncoders("one"), tmp_path).add(TEXTS)
    asked: list[str] = []

    class Hub(WeightsEncoders):
        weights_at_hand = False

        def weights_id(self, purpose: Purpose) -> str:
            asked.append(purpose)
            return super().weights_id(purpose)

    store = QuestionStore(Hub("two"), tmp_path)
    store.add(TEXTS)
    assert asked == []
    with pytest.raises(UserError, match=r"encoded by other weights of preset 'stub' .* data\.questions_cache"):
        store.add(["another one"])
    assert asked == ["texts"]


def test_what_is_encoded_can_be_used_without_weights_and_nothing_added(tmp_path: Path) -> None:
    cache = tmp_path / "questions"
    QuestionStore(WeightsEncoders("one"), cache).add(TEXTS)
    store = QuestionStore(WeightsEncoders(None), cache)
    store.add(TEXTS[:2])
    with pytest.raises(UserError, match="weights: missing"):
        store.add(["another one"])


def test_words_are_kept_in_the_presets_precision(tmp_path: Path) -> None:
    cache = tmp_path / "questions"
    QuestionStore(WeightsEncoders("one"), cache).add(TEXTS)
    store = QuestionStore(WeightsEncoders("one"), cache)
    text = store.take(store.rows(TEXTS))
    assert text.words.dtype == torch.float16
    assert text.question.dtype == torch.float32
    torch.testing.assert_close(
        _vectors(store, TEXTS[0])[1].float(), StubEncoders().encode_text(TEXTS[:1]).words[0], atol=2e-3, rtol=1e-3
    )


def test_the_file_is_the_same_whenever_it_is_written(tmp_path: Path) -> None:
    for name in "ab":
        QuestionStore(StubEncoders(), tmp_path / name).add(TEXTS)
    assert _part(tmp_path / "a").name == _part(tmp_path / "b").name
    assert _part(tmp_path / "a").read_bytes() == _part(tmp_path / "b").read_bytes()


def test_a_long_work_is_saved_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.avqa.question_store.SAVED", 2)

    class Interrupted(StubEncoders):
        def encode_text(self, texts: Sequence[str]) -> EncodedText:
            if len(self.asked) >= 2:
                raise KeyboardInterrupt
            return super().encode_text(texts)

    with pytest.raises(KeyboardInterrupt):
        QuestionStore(Interrupted(), tmp_path / "questions").add(TEXTS)
    assert len(QuestionStore(StubEncoders(), tmp_path / "questions")) == 2


def test_a_file_that_is_cut_off_while_it_is_mapped_is_told(tmp_path: Path) -> None:
    # Reading on would end this process without a word.
    QuestionStore(StubEncoders(), tmp_path).add(TEXTS)
    store = QuestionStore(StubEncoders(), tmp_path)
    path, rows = _part(tmp_path), store.rows(TEXTS)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    for read in (store.take, store.sentences):
        with pytest.raises(UserError, match="was cut off while it was read"):
            read(rows)
    path.write_bytes(whole)
    store.take(rows)
    # Of a file that is replaced the mapped one lives on, and so it does where the name is gone.
    with written_whole(path) as other:
        other.write_bytes(b"")
    store.take(rows)
    path.unlink()
    store.take(rows)


def test_parts_of_another_preset_are_left_alone(tmp_path: Path) -> None:
    QuestionStore(StubEncoders(), tmp_path).add(TEXTS)
    assert len(QuestionStore(load_encoders("small"), tmp_path)) == 0


def test_the_real_encoder_gives_a_text_the_same_vectors_in_any_company() -> None:
    encoders = load_encoders("small")
    alone, together = QuestionStore(encoders, None), QuestionStore(encoders, None)
    alone.add([TEXTS[1]])
    together.add([*TEXTS, "a much longer question about every instrument that is heard or seen in the video"])
    for one, other in zip(_vectors(alone, TEXTS[1]), _vectors(together, TEXTS[1]), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
