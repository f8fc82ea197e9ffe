"""What is recorded of a run is what its model does: held against the library's own statistics and `test`'s answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from docs.figures import __main__ as command
from docs.figures import record
from docs.figures.found import found, sounding
from docs.figures.measured import by_expert, measured, on_grid
from docs.figures.pictures import NAMES
from docs.figures.record import MIXTURES, Record
from docs.figures.watched import Session, View, Watched, watch
from examples.avqa.annotations import Question
from examples.avqa.concert.scene import Player, Scene
from examples.avqa.errors import UserError
from examples.avqa.fit import load_model
from examples.avqa.predicting import predict
from examples.avqa.prepare import prepare
from examples.avqa.run_data import load_data_config
from gaussian_moe import routing_statistics
from tests.examples.tiny_run import MODEL, epochs, train_tiny, write_data


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of 3 and of 4 frames, so that some are padded."""
    root = tmp_path_factory.mktemp("figures")
    return train_tiny(write_data(root / "data"), root / "run", trainer=epochs(1))


@pytest.fixture(scope="module")
def session(run: Path) -> Session:
    return watch(run)


@pytest.fixture(scope="module")
def made(session: Session) -> Record:
    return measured(session)


def test_answers_are_those_of_the_test_command(run: Path, session: Session, made: Record) -> None:
    data = load_data_config(run)
    predictions = predict(load_model(run), prepare(data), "test", data, bar=False)
    assert [one.question for one in session.watched] == [each.question for each in predictions]
    assert [one.predicted for one in session.watched] == [each.predicted for each in predictions]
    assert made.accuracy == pytest.approx(np.mean([each.score for each in predictions]))


@torch.inference_mode()
def test_gates_are_the_librarys_importance(run: Path, made: Record) -> None:
    module, data = load_model(run), load_data_config(run)
    loader = prepare(data).evaluation_loader("test", data, False, alone=True)
    importance = {name: torch.zeros(MODEL.num_experts) for name in MIXTURES}
    for batch in loader:
        output = module(batch)
        unasked = (batch.numbers < 0).flatten()
        for name, routing in zip(MIXTURES, (output.audio_routing, output.visual_routing), strict=True):
            found = routing_statistics(routing, question_padding_mask=unasked)
            importance[name] += found.importance * found.questions / made.questions
    for name in MIXTURES:
        types = [kind for kind in made.kinds if not kind.is_topic]
        gates = np.average([kind.looks[name].gates for kind in types], axis=0, weights=[kind.count for kind in types])
        np.testing.assert_allclose(gates, importance[name].numpy(), atol=1e-4)


def test_timelines_are_of_the_real_frames_alone(session: Session) -> None:
    lengths = {one.question.video_id: len(one.views["sound"].timeline) for one in session.watched}
    assert lengths == {"test_0": 3, "test_1": 4, "test_2": 3}
    for one in session.watched:
        for view in one.views.values():
            assert view.gates.sum() == pytest.approx(1)
            # An expert weighs its nearest frame with 1.
            assert view.gates.max() - 1e-6 <= view.timeline.max() <= 1 + 1e-6


@pytest.mark.slow
def test_a_whole_run_through_the_command(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "routing.json"
    arguments = ["--run", str(run), "--record", str(file), "--out", str(tmp_path / "out"), "--no-page"]
    assert command.main(arguments) == 0
    assert capsys.readouterr().out.count("Picture: ") == len(NAMES)
    assert len(list((tmp_path / "out").iterdir())) == len(NAMES)
    # This data has no scenes.
    assert (record.load(file).found, record.load(file).example.players) == ([], [])
    assert json.loads(file.read_text())["questions"] == 11


def test_a_model_without_gaussians_is_told(run: Path, tmp_path: Path) -> None:
    data = load_data_config(run)
    other = train_tiny(  # the data is the run's own
        write_data(tmp_path / "data"), tmp_path / "run", model=replace(MODEL, pooling="uniform"), trainer=epochs(1)
    )
    assert data.test is not None
    with pytest.raises(UserError, match="has no Gaussian experts to draw"):
        watch(other)


def test_a_timeline_keeps_its_frames_on_the_grid() -> None:
    timeline = np.array([0.1, 0.9, 0.3])
    grid = on_grid(timeline)
    assert (grid[0], grid[len(grid) // 2], grid[-1]) == (0.1, 0.9, 0.3)
    assert grid.max() == 0.9


def _player(*segments: tuple[float, float], instrument: str = "flute") -> Player:
    return Player(instrument, 0.5, segments, False, False, 0, 0, 0.5, 0.0, 0)


def _view(timeline: list[float]) -> View:
    one = np.ones(1)
    return View(np.zeros(1, np.int64), one, 0.5 * one, 0.1 * one, np.array(timeline))


def _watched(video: str, timeline: list[float], topic: str = "first instrument") -> Watched:
    asked = Question(video, "1", "Audio-Visual", "Temporal", "who", "who", "flute", topic)
    return Watched(asked, "flute", 1.0, dict.fromkeys(MIXTURES, _view(timeline)))


def test_which_part_of_a_frame_a_player_sounds_in() -> None:
    # Four frames of 5 s: the second in part, the third whole.
    np.testing.assert_allclose(sounding(_player((7.0, 15.0), (19.0, 20.0)), 20.0, 4), [0, 0.6, 1, 0.2])


def test_a_timeline_that_follows_its_clip_is_told_from_one_that_does_not() -> None:
    scenes = {
        name: Scene(name, "test", 20.0, (_player(segment), _player((0, 20), instrument="tuba")), "indoor", None, 0)
        for name, segment in (("a", (0.0, 5.0)), ("b", (15.0, 20.0)))
    }
    (follows,) = found([_watched("a", [1, 0, 0, 0]), _watched("b", [0, 0, 0, 0.5])], scenes)
    assert (follows.own["sound"], follows.others["sound"], follows.uniform, follows.count) == (1, 0, 0.25, 2)
    (stands,) = found([_watched("a", [1, 0, 0, 0]), _watched("b", [1, 0, 0, 0])], scenes)
    assert stands.own["sight"] == stands.others["sight"] == 0.5
    assert found([_watched("a", [1, 0, 0, 0], topic="other"), _watched("none", [1, 0, 0, 0])], scenes) == []


def test_experts_that_are_not_in_use_count_as_nothing() -> None:
    view = View(np.array([2, 0]), np.array([0.75, 0.25]), np.zeros(2), np.ones(2), np.ones(3))
    np.testing.assert_array_equal(by_expert(view, view.gates, 4), [0.25, 0, 0.75, 0])
