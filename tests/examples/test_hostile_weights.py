"""Files of weights that fuzzing found to break something, each with a clear error now; nothing in them is run."""

from __future__ import annotations

import io
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from examples.avqa.encoders.vit_weights import load_vit
from examples.avqa.errors import UserError
from examples.avqa.fit import load_model
from examples.avqa.question_store import QuestionStore
from examples.avqa.released import read_released
from examples.avqa.torch_file import load_plain
from examples.avqa.training import _steps_done
from tests.stress.fuzz.archive_changes import packed
from tests.stress.fuzz.parsers.checkpoints import checkpoint
from tests.stress.fuzz.parsers.weights import _Encoders
from tests.stress.fuzz.pickle_changes import _DOCUMENTS


def _members(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def _edited(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    value = torch.load(io.BytesIO(checkpoint()), weights_only=True)
    edit(value)
    torch.save(value, path)


def _flipped(path: Path) -> None:
    data = bytearray(checkpoint())
    content = next(content for name, content in _members(bytes(data)) if name.endswith("/data/0"))
    data[bytes(data).index(content)] ^= 0x40
    path.write_bytes(data)


def _begun(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04")


def _compressed(path: Path) -> None:
    path.write_bytes(packed(_members(checkpoint()), compressed=True))


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "a bit turned": (_flipped, "is not what was written"),
    "compressed": (_compressed, "are compressed"),
    "no archive": (_begun, "cut off"),
    "sizes beyond memory": (
        lambda path: _edited(path, lambda value: value["hyper_parameters"]["model"].update(dim=1 << 20)),
        "its sizes are not those of its tensors",
    ),
    "a size that is text": (
        lambda path: _edited(path, lambda value: value["hyper_parameters"]["model"].update(top_frames="x")),
        "top_frames is no int",
    ),
    "a number that is none": (
        lambda path: _edited(path, lambda value: value["hyper_parameters"]["model"].update(feature_noise=float("nan"))),
        "feature_noise is no float",
    ),
    "a number out of its range": (
        lambda path: _edited(path, lambda value: value["hyper_parameters"]["model"].update(seconds_per_frame=0)),
        "seconds_per_frame must be at least 1",
    ),
    "no tensors": (lambda path: _edited(path, lambda value: value.update(state_dict={"a": 1})), "no checkpoint"),
    "no answers": (
        lambda path: _edited(path, lambda value: value["hyper_parameters"].update(answers=5)),
        "no checkpoint",
    ),
    "no object": (lambda path: torch.save([1], path), "no checkpoint"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_checkpoint_that_is_changed_is_refused(tmp_path: Path, kind: str) -> None:
    damage, said = BROKEN[kind]
    path = tmp_path / "best.ckpt"
    path.write_bytes(checkpoint())
    load_model(tmp_path)
    damage(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError) as told:
        load_model(tmp_path)
    assert str(path) in str(told.value)
    assert said in str(told.value)
    assert str(told.value).isprintable()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


@pytest.mark.parametrize("number", range(len(_DOCUMENTS)))
@pytest.mark.parametrize("whole", [True, False], ids=["before 1.6", "archive"])
def test_hostile_pickles_are_refused_and_not_run(
    tmp_path: Path, number: int, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "best.ckpt"
    members = _members(checkpoint())
    hostile = [(name, _DOCUMENTS[number] if name.endswith("data.pkl") else content) for name, content in members]
    path.write_bytes(_DOCUMENTS[number] if whole else packed(hostile))
    for read in (lambda: load_model(tmp_path), lambda: read_released(path), lambda: load_vit(path)):
        with pytest.raises(UserError, match=r"best\.ckpt") as told:
            read()
        assert str(told.value).isprintable()
    assert [found.name for found in tmp_path.iterdir()] == ["best.ckpt"]


@pytest.mark.parametrize("value", [[1], torch.ones(3), {"global_step": "x"}, {"global_step": -1}, {}])
def test_a_last_checkpoint_without_its_step_is_told(tmp_path: Path, value: Any) -> None:
    torch.save(value, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match=r"last\.ckpt .* delete it to train anew"):
        _steps_done(tmp_path / "last.ckpt")


def test_a_file_from_before_archives_is_still_read(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(load_plain(tmp_path / "old.pth", mmap=True)["a"], torch.ones(3))


@pytest.mark.parametrize(
    "about",
    [
        "[" * 100_000,
        "[]",
        '{"preset": "small", "weights": 5, "texts": []}',
        '{"preset": "small", "weights": "w", "texts": [1, 2]}',
        '{"preset": "small", "weights": "w", "texts": "ab"}',
        '{"preset": "small", "weights": "w", "texts": ["\\ud800", "b"]}',
    ],
)
def test_encoded_questions_that_are_none_are_told(tmp_path: Path, about: str) -> None:
    encoders: Any = _Encoders()
    QuestionStore(encoders, tmp_path).add(["a", "b"])
    (path,) = tmp_path.iterdir()
    save_file(load_file(path), path, {"questions": about})
    with pytest.raises(UserError, match=rf"{path.name} is cut off, or no file of encoded questions"):
        QuestionStore(encoders, tmp_path)


@pytest.mark.parametrize("name", ["question", "words", "padding_mask"])
def test_encoded_questions_of_another_dtype_are_told(tmp_path: Path, name: str) -> None:
    encoders: Any = _Encoders()
    QuestionStore(encoders, tmp_path).add(["a", "b"])
    (path,) = tmp_path.iterdir()
    whole = load_file(path)
    save_file(whole | {name: whole[name].to(torch.int32)}, path, {"questions": _about(path)})
    with pytest.raises(UserError, match="are not 2 encoded questions; delete it"):
        QuestionStore(encoders, tmp_path)


def _about(path: Path) -> str:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as stored:
        return str(stored.metadata()["questions"])
