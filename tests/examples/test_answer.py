"""`answer` on a real video: probabilities in order, a whole picture, and clear words where it cannot."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from examples.avqa import answering, testing
from examples.avqa.answer import answer
from examples.avqa.answering import ask
from examples.avqa.clips import encode_clip
from examples.avqa.encoders import load_encoders
from examples.avqa.encoders.small import SmallEncoders
from examples.avqa.errors import UserError
from examples.avqa.extract import extract
from examples.avqa.fit import load_model
from examples.avqa.picture import Looked, draw_answer
from examples.avqa.results import read_predictions
from gaussian_moe import Routing
from tests.examples.tiny_run import ANSWERS, MODEL, TinyData, epochs, record, train_tiny, write_data
from tests.examples.tiny_videos import write_video

QUESTION = "How many instruments sound?"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", seconds=2, tone=(1, 2))


def _looked(center: float = 0.5) -> Looked:
    """Two experts with Gaussians, and weights of two frames that are not theirs."""
    half, ones = torch.full((1, 2), 0.5), torch.ones(1, 2)
    routing = Routing(half, torch.tensor([[0, 1]]), half + center, half, ones, torch.tensor([[[0.0, 1.0]] * 2]))
    return Looked("sound", routing)


def _printed(text: str) -> list[tuple[str, float]]:
    """The answers and probabilities of the printed table."""
    return [(name, float(value)) for name, value in re.findall(r"│ (\S+) +│ +(\d\.\d+)", text)]


def test_the_best_answers_and_a_picture(
    tiny_run: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "new folder" / "out.png"
    answer(video, QUESTION, tiny_run, top=3, picture=picture)
    printed = _printed(capsys.readouterr().out)
    assert len(printed) == 3
    assert len({name for name, _ in printed} & set(ANSWERS)) == 3
    assert [value for _, value in printed] == sorted((value for _, value in printed), reverse=True)
    with Image.open(picture) as image:
        image.load()
        assert image.format == "PNG"
        assert image.width > 1000
    assert [path.name for path in picture.parent.iterdir()] == ["out.png"]


def test_the_probabilities_are_the_models(tiny_run: Path, video: Path) -> None:
    module, encoders = load_model(tiny_run), load_encoders("small")
    probabilities, looked = ask(module, encoders, encode_clip(video, encoders), "How many instruments sound")
    assert float(probabilities.sum()) == pytest.approx(1)
    assert [mixture.name for mixture in looked] == ["sound", "sight"]
    assert looked[0].routing.gates.shape == (1, 2)
    other, _ = ask(module, encoders, encode_clip(video, encoders), "Where is the first sounding instrument")
    assert not torch.allclose(other, probabilities, atol=1e-4)


def test_more_answers_than_there_are(
    tiny_run: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(video, QUESTION, tiny_run, top=100, picture=tmp_path / "out.svg")
    printed = _printed(capsys.readouterr().out)
    assert {name for name, _ in printed} == set(ANSWERS)
    assert sum(value for _, value in printed) == pytest.approx(1, abs=0.01)
    assert "</svg>" in (tmp_path / "out.svg").read_text()


def test_a_silent_video_is_said_to_be_silent(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = write_video(tmp_path / "silent.mp4", seconds=1, tone=None)
    answer(silent, QUESTION, tiny_run, picture=tmp_path / "out.png")
    assert "no sound" in capsys.readouterr().out
    assert (tmp_path / "out.png").exists()


def test_a_question_with_dollars_is_no_formula(tmp_path: Path, tiny_run: Path, video: Path) -> None:
    module, encoders = load_model(tiny_run), load_encoders("small")
    _, looked = ask(module, encoders, encode_clip(video, encoders), "How many")
    still = np.zeros((2, 8, 8, 3), np.uint8)
    draw_answer(tmp_path / "out.png", still, np.zeros(32000, np.float32), r"is $\foo$ it", [(r"$\foo$", 0.5)], looked)
    assert (tmp_path / "out.png").exists()


def _drawn(path: Path, looked: Looked) -> bytes:
    draw_answer(path, np.zeros((2, 8, 8, 3), np.uint8), np.zeros(32000, np.float32), "q", [("yes", 0.5)], [looked])
    return path.read_bytes()


def test_gaussians_are_drawn_only_of_a_model_that_used_them(tmp_path: Path) -> None:
    one, other = (_looked(center)._replace(pooling="top_frames") for center in (0.1, 0.4))
    drawn = _drawn(tmp_path / "one.png", one)
    assert drawn == _drawn(tmp_path / "other.png", other)
    weights = one.routing._replace(weights=torch.ones(1, 2, 2))
    assert drawn != _drawn(tmp_path / "weights.png", one._replace(routing=weights))
    text = _drawn(tmp_path / "out.svg", one._replace(pooling="uniform")).decode()
    assert "weight of a frame (uniform pooling, no Gaussians)" in text


def test_the_pooling_is_the_models(tiny_run: Path, video: Path) -> None:
    encoders = load_encoders("small")
    clip = encode_clip(video, encoders)
    module = load_model(tiny_run)
    assert {mixture.pooling for mixture in ask(module, encoders, clip, QUESTION)[1]} == {"gaussian"}
    module.config = replace(module.config, pooling="top_frames")
    assert {mixture.pooling for mixture in ask(module, encoders, clip, QUESTION)[1]} == {"top_frames"}


def test_a_failed_picture_leaves_nothing(tmp_path: Path) -> None:
    looked: list[Looked] = []
    with pytest.raises(UnboundLocalError):
        draw_answer(tmp_path / "out.png", np.zeros((1, 8, 8, 3), np.uint8), np.zeros(9, np.float32), "q", [], looked)
    assert list(tmp_path.iterdir()) == []


def test_before_any_training_the_command_that_trains_is_named(video: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no model at .*train one with: python -m examples\.avqa fit") as told:
        answer(video, QUESTION, tmp_path / "run")
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_questions_alone_cannot_watch(tiny: TinyData, video: Path, tmp_path: Path) -> None:
    run = train_tiny(tiny, tmp_path / "run", data=replace(tiny.config, features=None), trainer=epochs(1))
    with pytest.raises(UserError, match="trained without features"):
        answer(video, QUESTION, run)


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each of its five seconds looks otherwise, and only the last ones sound."""
    return write_video(tmp_path_factory.mktemp("video") / "long.mp4", seconds=5, tone=(2, 5))


def _copied(run: Path, folder: Path, **data: object) -> Path:
    """The run with other settings of its data."""
    shutil.copytree(run, folder)
    settings = json.loads((folder / "settings.json").read_text())
    settings["data"] |= data
    (folder / "settings.json").write_text(json.dumps(settings, default=str))
    return folder


@pytest.fixture(scope="module")
def tested(tiny_run: Path, long_video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was tested on the first two seconds of the long video."""
    root = tmp_path_factory.mktemp("tested")
    extract(long_video, root / "features", seconds=2, workers=1)
    asked = record("long", 1, ("Audio", "Counting"), QUESTION, [], "two")
    (root / "annotations.json").write_text(json.dumps([asked]))
    run = _copied(tiny_run, root / "run", test=root / "annotations.json", features=root / "features")
    testing.test(run)
    return run


@pytest.mark.parametrize("by", ["features", "frames", "preset"])
def test_a_longer_video_is_cut_as_the_run_was_tested(
    tested: Path,
    long_video: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    (wanted,) = read_predictions(tested / "test" / "predictions.csv")
    run, drawn = tested, list[tuple[object, ...]]()
    if by != "features":
        run = _copied(tested, tmp_path / "run", features=None, frames=2 if by == "frames" else None)
    if by == "preset":
        monkeypatch.setattr(SmallEncoders, "seconds", 2)
    monkeypatch.setattr(answering, "draw_answer", lambda *given: drawn.append(given))
    answer(long_video, QUESTION, run, top=1)
    shown = capsys.readouterr().out
    ((answered, probability),) = _printed(shown)
    assert answered == wanted.predicted
    # Features on disk are in half precision.
    assert probability == pytest.approx(wanted.probability, abs=2e-3)
    assert "the first 2 of 5 seconds" in shown
    _, frames, sound, *_, cut, seconds = drawn[0]
    assert (len(frames), len(sound), cut, seconds) == (2, 32000, "the first 2 of 5 seconds", 2)  # type: ignore[arg-type]  # of several types


def test_the_whole_of_the_longer_video_has_another_answer(tested: Path, long_video: Path) -> None:
    """Or the test above would show nothing."""
    (wanted,) = read_predictions(tested / "test" / "predictions.csv")
    module, encoders = load_model(tested), load_encoders("small")
    whole, _ = ask(module, encoders, encode_clip(long_video, encoders), QUESTION.rstrip("?"))
    assert abs(float(whole.max()) - wanted.probability) > 5e-3


def test_the_picture_says_that_the_clip_was_cut(tmp_path: Path) -> None:
    still, sound = np.zeros((2, 8, 8, 3), np.uint8), np.zeros(32000, np.float32)
    draw_answer(tmp_path / "out.svg", still, sound, "q", [("yes", 0.5)], [_looked()], "the first 2 of 5 seconds")
    assert "seconds (the first 2 of 5 seconds)" in (tmp_path / "out.svg").read_text()


def test_the_runs_own_weights_are_read(
    tiny_run: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _copied(tiny_run, tmp_path / "run", weights=tmp_path / "weights")
    with pytest.raises(UserError, match=r"preset small brings its own; leave out .*/weights"):
        answer(video, QUESTION, run)
    monkeypatch.setattr(SmallEncoders, "dims", SmallEncoders.dims._replace(video=640))
    with pytest.raises(UserError, match=r"trained with other weights .* video of 1280 channels, not 640; .*--weights"):
        answer(video, QUESTION, tiny_run)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"question": " ? "}, "nothing is asked"),
        ({"question": ""}, "nothing is asked"),
        ({"top": 0}, "top must be at least 1"),
        ({"picture": Path("out.bmp")}, "must end in .png, .pdf or .svg"),
        ({"picture": Path("out")}, "must end in .png, .pdf or .svg"),
        ({"video": Path("missing.mp4")}, "no such file: missing.mp4"),
    ],
)
def test_what_cannot_be_answered(tiny_run: Path, video: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        answer(**({"video": video, "question": QUESTION, "run": tiny_run} | arguments))  # type: ignore[arg-type]  # of several types


def test_a_model_without_experts_answers_without_a_picture(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = write_data(tmp_path / "data")
    run = train_tiny(tiny, tmp_path / "run", trainer=epochs(1), model=replace(MODEL, architecture="tspm", top_frames=2))
    answer(video, QUESTION, run, picture=tmp_path / "out.png")
    shown = capsys.readouterr().out
    assert len(_printed(shown)) == 5
    assert "No picture: this model has no experts" in shown
    assert not (tmp_path / "out.png").exists()
