"""`test` counts what the model answers, the same for every batch size, and tells what does not fit the run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from examples.avqa import result_files, testing
from examples.avqa.annotations import load_questions, load_vocabulary
from examples.avqa.baselines import MostFrequentAnswer
from examples.avqa.encoders.small import SmallEncoders
from examples.avqa.errors import UserError
from examples.avqa.fit import load_model
from examples.avqa.predicting import TEXT_ONLY, predict, table
from examples.avqa.prepare import prepare
from examples.avqa.result_files import write_results
from examples.avqa.results import read_predictions, read_tables
from examples.avqa.run_data import load_data_config
from tests.examples.tiny_run import TinyData, epochs, everything, train_tiny


@pytest.fixture(scope="module")
def tested(tiny: TinyData, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tested") / "out"
    testing.test(tiny_run, out=out)
    return out


def test_the_table_is_a_count_of_the_predictions(tiny: TinyData, tested: Path) -> None:
    predictions = read_predictions(tested / "predictions.csv")
    counted = read_tables(tested / "table.json")["QA-TIGER"]
    for name in ("A-Count", "AV-Exist", "AV-Temp", "V-Count"):
        chosen = [p.predicted == p.question.answer for p in predictions if p.question.short_type == name]
        assert counted[name].accuracy == pytest.approx(sum(chosen) / len(chosen))
        assert counted[name].count == len(chosen)
    assert counted.total == pytest.approx(sum(p.predicted == p.question.answer for p in predictions) / 11)
    assert counted["A-Comp"].accuracy is None


def test_there_is_a_prediction_a_question_in_the_annotations_order(tiny: TinyData, tested: Path) -> None:
    questions = load_questions(tiny.root / "test.json", load_vocabulary(tiny.config.answers))
    assert [p.question for p in read_predictions(tested / "predictions.csv")] == questions


def test_the_text_only_column_is_the_baseline(tiny: TinyData, tested: Path) -> None:
    vocabulary = load_vocabulary(tiny.config.answers)
    train, test = (load_questions(tiny.root / f"{split}.json", vocabulary) for split in ("train", "test"))
    predicted = MostFrequentAnswer.fit(train).predict(test)
    right = sum(answer == question.answer for answer, question in zip(predicted, test, strict=True))
    assert read_tables(tested / "table.json")[TEXT_ONLY].total == pytest.approx(right / len(test))


def test_predictions_are_the_models(tiny: TinyData, tiny_run: Path, tested: Path) -> None:
    module, prepared = load_model(tiny_run), prepare(tiny.config)
    with torch.no_grad():
        for batch in prepared.loader("test", 1, 1):
            probabilities = module(batch).logits[0, 0].softmax(-1)
            stored = read_predictions(tested / "predictions.csv")[int(batch.numbers)]
            assert stored.predicted == module.answers[int(probabilities.argmax())]
            assert stored.probability == pytest.approx(float(probabilities.max()), abs=1e-5)


@pytest.mark.parametrize("clips", [1, 2, 50])
def test_batches_do_not_matter(tiny: TinyData, tiny_run: Path, tested: Path, clips: int) -> None:
    stored = read_predictions(tested / "predictions.csv")
    config = replace(tiny.config, eval_clips_per_batch=clips)
    now = predict(load_model(tiny_run), prepare(config), "test", config, bar=False)
    assert [p.predicted for p in now] == [p.predicted for p in stored]
    assert [p.probability for p in now] == pytest.approx([p.probability for p in stored], abs=1e-5)


def test_results_go_beside_the_run_and_leave_it_as_it_was(tiny_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    before = everything(run)
    testing.test(run, split="val", checkpoint="last")
    after = everything(run)
    assert set(after) - set(before) == {"val/predictions.csv", "val/table.json", "val/table.md"}
    assert {name: after[name] for name in before} == before


def test_other_annotations_and_features(own: TinyData, tiny_run: Path, tmp_path: Path) -> None:
    """The run was made elsewhere; here, other clips have other names."""
    own.edit("test", video_id="val_0", anser="flute")
    testing.test(tiny_run, annotations=own.config.test, features=own.config.features, out=tmp_path / "out")
    first = read_predictions(tmp_path / "out" / "predictions.csv")[0].question
    assert (first.video_id, first.answer) == ("val_0", "flute")


def test_an_answer_index_in_another_order_is_refused(own: TinyData, tiny_run: Path, tmp_path: Path) -> None:
    other = own.root / "other.json"
    other.write_text(json.dumps({"ans2ix": {"no": 0, "yes": 1, "two": 2, "flute": 3, "left": 4}}))
    with pytest.raises(UserError, match=r"other\.json: not the answer index"):
        testing.test(tiny_run, answers=other, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_features_given_to_a_model_of_questions_alone_are_refused(tiny: TinyData, tmp_path: Path) -> None:
    run = train_tiny(tiny, tmp_path / "run", data=replace(tiny.config, features=None), trainer=epochs(1))
    testing.test(run, out=tmp_path / "out")
    with pytest.raises(UserError, match="trained without features"):
        testing.test(run, features=tiny.config.features)


def test_other_widths_are_told_as_such_before_anything_is_read(
    own: TinyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with other weights in the run's folder of weights."""
    run = train_tiny(own, tmp_path / "run", trainer=epochs(1))
    monkeypatch.setattr(SmallEncoders, "dims", SmallEncoders.dims._replace(video=640, words=7))
    (own.root / "test.json").unlink()
    with pytest.raises(UserError, match=r"other weights .* video of 1280 channels, not 640, words") as told:
        testing.test(run)
    assert "\n" not in str(told.value)
    assert "settings.json" in str(told.value)


def test_a_run_without_test_annotations_says_so(tiny: TinyData, tmp_path: Path) -> None:
    run = train_tiny(tiny, tmp_path / "run", data=replace(tiny.config, test=None), trainer=epochs(1))
    with pytest.raises(UserError, match="without test annotations"):
        testing.test(run)
    testing.test(run, annotations=tiny.config.test)
    assert (run / "data-test" / "table.md").exists()


def test_other_annotations_leave_the_runs_own_results(own: TinyData, tiny_run: Path, tmp_path: Path) -> None:
    """MUSIC-AVQA-R's file, or another data set's, may be called test.json, too."""
    run = shutil.copytree(tiny_run, tmp_path / "run")
    testing.test(run)
    testing.test(run, annotations=load_data_config(run).test)
    before = everything(run)
    other = own.root / "elsewhere" / "test.json"
    other.parent.mkdir()
    shutil.copy(own.root / "val.json", other)
    testing.test(run, annotations=other)
    after = everything(run)
    assert {name: after[name] for name in before} == before
    assert {Path(name).parts[0] for name in set(after) - set(before)} == {"elsewhere-test"}


def test_results_of_other_questions_are_not_written_over(own: TinyData, tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    testing.test(tiny_run, out=out)
    before = everything(out)
    own.edit("test", anser="flute")
    with pytest.raises(UserError, match=r"out: .*predictions\.csv answers other questions than .*; .* --out") as told:
        testing.test(tiny_run, annotations=own.config.test, out=out)
    assert "\n" not in str(told.value)
    assert everything(out) == before


@pytest.mark.parametrize(
    ("stop", "left"),
    [
        ("write_predictions", {"predictions.csv"}),
        ("write_tables", {"predictions.csv"}),
        ("write_text", {"predictions.csv", "table.json"}),
    ],
)
def test_being_stopped_while_writing_leaves_no_old_table(
    tested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: str, left: set[str]
) -> None:
    out = shutil.copytree(tested, tmp_path / "out")
    predictions = [replace(p, predicted="yes") for p in read_predictions(out / "predictions.csv")]
    monkeypatch.setattr(result_files, stop, _killed)
    with pytest.raises(KeyboardInterrupt):
        write_results(out, {"QA-TIGER": table(predictions)}, predictions)
    assert {path.name for path in out.iterdir()} == left
    if "table.json" in left:
        assert read_tables(out / "table.json")["QA-TIGER"] == table(predictions)


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("split", "checkpoint"), [("tests", "best"), ("test", "bets")])
def test_unknown_splits_and_checkpoints(tiny_run: Path, split: str, checkpoint: str) -> None:
    with pytest.raises(UserError, match=r"split must be|no model at"):
        testing.test(tiny_run, split=split, checkpoint=checkpoint)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_text("hello"),
        lambda path: path.write_text(""),
        lambda path: torch.save({"weights": torch.zeros(1)}, path),
        lambda path: torch.save([1], path),
        lambda path: torch.save({"path": path}, path),
    ],
    ids=["truncated", "text", "empty", "another state", "a list", "a pickle"],
)
def test_a_broken_checkpoint_is_named(tiny_run: Path, tmp_path: Path, damage: Callable[[Path], object]) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    damage(run / "best.ckpt")
    with pytest.raises(UserError, match=r"best\.ckpt is cut off, or no checkpoint"):
        testing.test(run)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"data": 3}', '{"data": {"unknown": 1}}'])
def test_broken_settings_are_named(tiny_run: Path, tmp_path: Path, content: str) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / "settings.json").write_text(content)
    with pytest.raises(UserError, match=r"settings\.json"):
        testing.test(run)


def test_the_settings_give_the_config_back(tiny: TinyData, tiny_run: Path) -> None:
    assert load_data_config(tiny_run) == tiny.config
