"""Released weights give what the published indexing gives in its batches, and what each question gives alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from examples.avqa import testing
from examples.avqa.checkpoint import to_released
from examples.avqa.cli import main
from examples.avqa.config import ModelConfig
from examples.avqa.errors import UserError
from examples.avqa.model import QATiger
from examples.avqa.prepare import prepare
from examples.avqa.released_orders import run_both_orders
from examples.avqa.results import read_predictions, read_tables
from tests.examples.tiny_run import ANSWERS, TinyData, everything, write_data, write_features

SIZES: dict[str, Any] = {"dim": 16, "num_experts": 3, "top_k": 2, "heads": 2}
TABLES = ("published_indexing", "own_experts")


@pytest.fixture(scope="module")
def even(tmp_path_factory: pytest.TempPathFactory) -> TinyData:
    """Clips of five frames each, as the published features are of sixty; two of one clip's are padding."""
    data = write_data(tmp_path_factory.mktemp("even") / "data", frames=(5,))
    write_features(data, "test_1", 5, seed=1, real=3)
    return data


@pytest.fixture(scope="module")
def model(even: TinyData) -> QATiger:
    widths = prepare(even.config, ["test"]).feature_dims
    torch.manual_seed(1)
    return QATiger(
        widths["audio"], widths["video"], widths["patches"], widths["question"], num_answers=len(ANSWERS), **SIZES
    ).eval()


@pytest.fixture(scope="module")
def weights(model: QATiger, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "released.pt"
    state = {f"module.{name}": tensor for name, tensor in to_released(model.state_dict()).items()}
    torch.save({"state_dict": state | {"module.quest_encoder.x": torch.ones(1)}}, path)
    return path


def _probabilities(folder: Path) -> dict[str, torch.Tensor]:
    return {
        name: torch.tensor([p.probability for p in read_predictions(folder / name / "predictions.csv")])
        for name in TABLES
    }


def _alone(model: QATiger, data: TinyData, batch: int, order: bool) -> torch.Tensor:
    """The best answer's probability by the model itself, from the annotations' order cut into batches."""
    prepared = prepare(data.config, ["test"])
    for moe in (model.audio_moe, model.visual_moe):
        moe.released_expert_order = moe.experts.released_expert_order = order
    questions, best = prepared.questions["test"], []
    for start in range(0, len(questions), batch):
        asked = questions[start : start + batch]
        clips = [data.folder.load(question.video_id) for question in asked]
        text = prepared.store.take(prepared.store.rows(question.text for question in asked))
        with torch.no_grad():
            logits = model(
                torch.stack([clip.audio for clip in clips]).float(),
                torch.stack([clip.video for clip in clips]).float(),
                torch.stack([clip.patches for clip in clips]).float(),
                text.question,
                text.words,
                words_padding_mask=text.padding_mask,
            ).logits
        best.append(logits.softmax(-1).max(-1).values)
    return torch.cat(best)


@pytest.mark.parametrize("batch", [1, 4])
def test_both_orders_are_the_models_own_answers(
    even: TinyData, model: QATiger, weights: Path, tmp_path: Path, batch: int
) -> None:
    config = replace(even.config, clips_per_batch=batch)
    run_both_orders(weights, config, ModelConfig(**SIZES), "test", tmp_path)
    now = _probabilities(tmp_path)
    torch.testing.assert_close(now["own_experts"], _alone(model, even, 1, order=False), atol=1e-5, rtol=0)
    torch.testing.assert_close(now["published_indexing"], _alone(model, even, batch, order=True), atol=1e-5, rtol=0)
    same = torch.allclose(now["own_experts"], now["published_indexing"], atol=1e-5)
    # The published indexing is right where a batch is one question.
    assert same == (batch == 1)


def test_the_command_writes_one_table_and_says_which_column_is_which(
    even: TinyData, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {name: str(getattr(even.config, name)) for name in ("answers", "train", "val", "test", "features")}
    config = tmp_path / "data.yaml"
    config.write_text(
        yaml.safe_dump({"data": fields, "model": SIZES, "optimizer": {"lr": 1}, "trainer": {}, "seed": 1})
    )
    out = tmp_path / "out"
    assert main(["test", "--released-weights", str(weights), "--config", str(config), "--out", str(out)]) == 0
    tables = read_tables(out / "table.json")
    assert list(tables) == ["published indexing", "own experts"]
    for name, table in tables.items():
        predictions = read_predictions(out / name.replace(" ", "_") / "predictions.csv")
        assert table.total == pytest.approx(sum(p.score for p in predictions) / len(predictions))
    shown = capsys.readouterr().out
    for text in (shown, (out / "table.md").read_text(encoding="utf-8")):
        assert "published indexing (released_expert_order: true)" in text
        assert "(b·T + t) mod B" in text
        assert "The frozen text tower in the file (1 tensors) was left out" in text
        assert "batches of 32, the last one short" in text


def test_results_lie_beside_the_file_by_default(even: TinyData, weights: Path) -> None:
    testing.test(released_weights=weights, data=even.config, model=ModelConfig(**SIZES))
    before = everything(weights.parent / "released-test")
    assert "table.md" in before
    other = even.root / "head" / "test.json"
    other.parent.mkdir()
    other.write_bytes((even.root / "val.json").read_bytes())
    testing.test(released_weights=weights, data=even.config, model=ModelConfig(**SIZES), annotations=other)
    assert (weights.parent / "released-head-test" / "table.md").is_file()
    assert everything(weights.parent / "released-test") == before
    with pytest.raises(UserError, match="answers other questions than"):
        run_both_orders(
            weights, replace(even.config, test=other), ModelConfig(**SIZES), "test", weights.parent / "released-test"
        )
    assert everything(weights.parent / "released-test") == before


def test_clips_of_different_lengths_are_refused(tiny: TinyData, weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="clips of one length"):
        run_both_orders(weights, tiny.config, ModelConfig(**SIZES), "test", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_the_weights_is_told(even: TinyData, own: TinyData, weights: Path, tmp_path: Path) -> None:
    sizes = ModelConfig(**SIZES)
    more = own.root / "more.json"
    more.write_text(json.dumps({"ans2ix": {name: place for place, name in enumerate((*ANSWERS, "right"))}}))
    out = tmp_path / "out"
    for data, model, message in (
        (replace(even.config, features=None), sizes, "reads audio of .* constant features give 1"),
        (replace(even.config, test=None), sizes, r"data\.test: no annotations"),
        (replace(own.config, answers=more), sizes, "chooses from 5 answers, .* holds 6"),
        (even.config, replace(sizes, heads=3), "divisible by heads"),
        (even.config, replace(sizes, dim=32), r"model\.dim is 32"),
    ):
        with pytest.raises(UserError, match=message):
            run_both_orders(weights, data, model, "test", out)
    assert not out.exists()


def test_a_run_and_released_weights_exclude_each_other(even: TinyData, weights: Path) -> None:
    run = Path("run")
    for options, message in (
        ({"run": run, "released_weights": weights}, "exclude each other; test wants --run RUN, or --released_weights"),
        ({}, "nothing to test; test wants --run RUN, or --released_weights"),
        ({"run": run, "data": even.config}, "data and model belong to --released_weights"),
        ({"run": run, "model": ModelConfig()}, "data and model belong to --released_weights"),
        ({"released_weights": weights}, r"give --config DATA\.yaml"),
        ({"released_weights": weights, "data": even.config, "checkpoint": "last"}, "checkpoint 'last' is one of a run"),
    ):
        with pytest.raises(UserError, match=message):
            testing.test(**options)
