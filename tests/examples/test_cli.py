"""The command line: help, exit codes, shipped configs; bad input is one line, exit code 2, and nothing written."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from examples.avqa import cli
from examples.avqa.cli import COMMANDS, command_function, main
from tests.examples.tiny_run import MODEL_OPTIONS, TRAINER_OPTIONS, TinyData, everything
from tests.examples.tiny_videos import write_video

CONFIGS = sorted((Path(cli.__file__).parent / "configs").glob("*.yaml"))
MODEL_CONFIGS = [path for path in CONFIGS if "model" in yaml.safe_load(path.read_text(encoding="utf-8"))]


def _exit_code(arguments: list[str]) -> int | str | None:
    try:
        return main(arguments)
    except SystemExit as stopped:
        return stopped.code


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code([name, "--help"]) == 0
    shown = capsys.readouterr().out
    for option in inspect.signature(command_function(name)).parameters:
        assert option in shown
    assert "Args:" not in shown


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert (main(["--help"]), main([])) == (0, 2)
    shown = capsys.readouterr().out
    assert all(shown.count(f"\n  {name} ") == 2 for name in COMMANDS)


@pytest.mark.parametrize("config", MODEL_CONFIGS, ids=lambda path: path.stem)
def test_every_config_of_a_model_is_one_of_released_weights(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    others = [text for part in ("answers", "train", "val") for text in (f"--data.{part}", "no-such.json")]
    assert _exit_code(["test", "--released-weights", "no-such.pt", "--config", str(config), *others]) == 2
    _one_line(capsys, "no such file: no-such.pt")


def test_hyphens_in_the_name_of_an_option_are_underscores(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("--released-weights", "--released_weights"):
        assert main(["test", f"{name}=no-such.pt", "--data.answers=a-b", "--data.train=x", "--data.val=x"]) == 2
        _one_line(capsys, "no such file: no-such.pt")


def test_sections_without_a_use_are_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(["test", "--help"]) == 0
    assert "--optimizer" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_process_of_its_own_says_it_in_one_line(tiny: TinyData, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.avqa", "answer", "no.mp4", "How many?", "--run", str(tmp_path / "run")],
        cwd=Path(cli.__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: no model at {tmp_path / 'run' / 'best.ckpt'}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["tran"],
        ["fit", "--out", "x", "--optimiser.lr", "1"],
        ["fit", "--out", "x", "--data.clips_per_batch", "many"],
        ["fit", "--out", "x", "--optimizer.schedule", "linear"],
        ["fit", "--config", "no-such.yaml"],
        ["fit"],
        ["answer", "video.mp4"],
        ["test", "--run"],
    ],
    ids=" ".join,
)
def test_what_the_parser_refuses(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(arguments) == 2
    error = capsys.readouterr().err
    assert "error: " in error
    assert "Traceback" not in error


def test_what_the_disk_refuses(tiny: TinyData, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert (
        main(["fit", *tiny.options(), *MODEL_OPTIONS, *TRAINER_OPTIONS, "--out", str(tmp_path / "file" / "run")]) == 2
    )
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert str(tmp_path / "file") in error
    assert error.count("\n") == 1


def test_ctrl_c_says_how_to_go_on_where_one_can(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(run: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("examples.avqa.testing.test", stopped)
    monkeypatch.setattr("examples.avqa.extract.extract", stopped)
    assert main(["extract", "--run", "x"]) == 130
    assert "same command" in capsys.readouterr().err
    assert main(["test", "--run", "x"]) == 130
    assert capsys.readouterr().err == "stopped\n"


def test_options_override_the_config(tiny: TinyData, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"model": {"dim": 32, "heads": 2, "num_experts": 2, "top_k": 2}}))
    arguments = ["fit", "--config", str(config), *tiny.options(), *TRAINER_OPTIONS, "--out", str(tmp_path / "run")]
    assert main([*arguments, "--model.dim", "16"]) == 0
    model = json.loads((tmp_path / "run" / "settings.json").read_text())["model"]
    assert (model["dim"], model["heads"], model["dropout"]) == (16, 2, 0.1)


# Bad input: what is done to a copy of the tiny data set, what is then asked for, and what the message must name.
def _lack_a_key(data: TinyData) -> None:
    data.edit("train", video_id=None)


def _not_json(data: TinyData) -> None:
    (data.root / "train.json").write_text("[{")


def _unknown_answer(data: TinyData) -> None:
    data.edit("val", anser="theremin")


def _array(data: TinyData) -> tuple[Path, Any]:
    path = data.folder.path("train_1", "audio")
    return path, np.load(path)


def _no_feature(data: TinyData) -> None:
    _array(data)[0].unlink()


def _cut_feature(data: TinyData) -> None:
    path, _ = _array(data)
    path.write_bytes(path.read_bytes()[:500])


def _other_shape(data: TinyData) -> None:
    path, array = _array(data)
    np.save(path, array[:, :5])


def _nothing(data: TinyData) -> None:
    pass


BAD_FITS: dict[str, tuple[Callable[[TinyData], None], list[str], str]] = {
    "no annotations": (lambda data: (data.root / "train.json").unlink(), [], "train.json does not exist"),
    "no JSON": (_not_json, [], "train.json is not JSON"),
    "a key lacks": (_lack_a_key, [], "train.json: record 1 lacks the key 'video_id'"),
    "unknown answer": (_unknown_answer, [], "val.json: record 1 has the answer 'theremin'"),
    "no feature": (_no_feature, [], "train_1.npy: missing"),
    "cut feature": (_cut_feature, [], "train_1.npy: truncated"),
    "other shape": (_other_shape, [], "train_1.npy: shape"),
    "no feature folder": (_nothing, ["--data.features", "nowhere"], "no such folder: nowhere"),
    "unknown encoder": (_nothing, ["--data.encoder", "paper2"], "unknown encoder preset 'paper2'"),
    "heads": (_nothing, ["--model.heads", "3"], "dim must be divisible by heads, got dim=16 and heads=3"),
    "top_k": (_nothing, ["--model.top_k", "3"], "top_k must be at most num_experts"),
    "dim": (_nothing, ["--model.dim", "0"], "model.dim must be at least 1"),
    "dropout": (_nothing, ["--model.dropout", "1.5"], "dropout must be in [0, 1)"),
    "too many components": (
        _nothing,
        ["--model.whiten", '{"question": 385, "words": 385}'],
        "whiten must keep 1 ... 384 components",
    ),
    "unknown kind": (_nothing, ["--model.whiten", '{"smell": 3}'], "whiten names smell"),
    "no epochs": (_nothing, ["--trainer.max_epochs", "0"], "trainer.max_epochs must be at least 1, got 0"),
    "endless epochs": (_nothing, ["--trainer.max_epochs", "-1"], "trainer.max_epochs must be at least 1, got -1"),
    "no clips": (_nothing, ["--data.clips_per_batch", "0"], "clips_per_batch must be at least 1"),
    "no questions": (_nothing, ["--data.questions_per_clip", "0"], "questions_per_clip must be at least 1"),
    "no batch": (_nothing, ["--data.eval_clips_per_batch", "0"], "eval_clips_per_batch must be at least 1"),
    "no accumulation": (_nothing, ["--trainer.accumulate_grad_batches", "0"], "accumulate_grad_batches"),
    "clipping": (_nothing, ["--trainer.gradient_clip_val", "-1"], "gradient_clip_val must be above 0"),
    "accelerator": (_nothing, ["--trainer.accelerator", "abacus"], "abacus"),
    "precision": (_nothing, ["--trainer.precision", "3-bit"], "3-bit"),
    "trainer option": (_nothing, ["--trainer.options", '{"epochs": 3}'], "'epochs'"),
    "rate": (_nothing, ["--optimizer.lr", "-1"], "optimizer.lr must be above 0"),
    "rate of nothing": (_nothing, ["--optimizer.lr", ".nan"], "optimizer.lr must be above 0"),
    "endless rate": (_nothing, ["--optimizer.lr", "1e38"], "optimizer.lr must be above 0 and at most 1e+30, got 1e+38"),
    "betas": (_nothing, ["--optimizer.betas", "[0.9, 1.0]"], "optimizer.betas must be in [0, 1)"),
    "decay": (_nothing, ["--optimizer.weight_decay", "-1"], "optimizer.weight_decay"),
    "step": (_nothing, ["--optimizer.step_epochs", "0"], "optimizer.step_epochs"),
    "gamma": (_nothing, ["--optimizer.gamma", "-1"], "optimizer.gamma"),
    "warm-up": (_nothing, ["--optimizer.warmup_steps", "-1"], "optimizer.warmup_steps"),
    "smoothing": (_nothing, ["--optimizer.label_smoothing", "2"], "optimizer.label_smoothing"),
    "seed": (_nothing, ["--seed", "-1"], "seed must be in"),
    "published order": (
        _nothing,
        ["--model.released_expert_order", "true", "--data.questions_per_clip", "2"],
        "data.questions_per_clip must be 1",
    ),
}


@pytest.mark.parametrize("name", BAD_FITS)
def test_fit_refuses(own: TinyData, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    damage, options, message = BAD_FITS[name]
    damage(own)
    before = everything(own.root.parent)
    out = own.root.parent / "runs" / "new"
    arguments = ["fit", *own.options(), *MODEL_OPTIONS, *TRAINER_OPTIONS, "--out", str(out), *options]
    assert main(arguments) == 2
    _one_line(capsys, message)
    assert everything(own.root.parent) == before
    assert not out.exists()


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_that_are_none_are_told_before_training(
    own: TinyData, split: str, number: float, capsys: pytest.CaptureFixture[str]
) -> None:
    path = own.folder.path(f"{split}_1", "patches")
    array = np.load(path)
    array[0, 0, 0] = number
    np.save(path, array)
    out = own.root.parent / "run"
    arguments = ["fit", *own.options(), *MODEL_OPTIONS, *TRAINER_OPTIONS, "--out", str(out)]
    assert main(arguments) == 2
    _one_line(capsys, f"{split}_1.npy: holds NaN or infinite numbers; extract the video again")
    assert not out.exists()
    # With the file mended, the same command trains.
    array[0, 0, 0] = 0
    np.save(path, array)
    assert main(arguments) == 0


def _video(folder: Path, kind: str) -> Path:
    path = folder / "bad.mp4"
    if kind == "no picture":
        return write_video(path, picture=False)
    if kind == "zero length":
        path.write_bytes(b"")
    elif kind == "no video":
        path.write_text("hello")
    elif kind == "cut off":
        write_video(path, seconds=10, options={"movflags": "faststart"})
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "without index":
        write_video(path, seconds=10)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


@pytest.mark.parametrize("kind", ["no picture", "zero length", "no video", "cut off", "without index", "missing"])
@pytest.mark.parametrize("command", ["extract", "answer"])
def test_a_video_that_is_none_is_refused(
    tiny_run: Path, tmp_path: Path, kind: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    video = _video(tmp_path, kind)
    before = everything(tmp_path)
    run = everything(tiny_run)
    if command == "extract":
        arguments = ["extract", "--videos", str(video), "--out", str(tmp_path / "features"), "--workers", "1"]
    else:
        arguments = ["answer", str(video), "How many?", "--run", str(tiny_run)]
    assert main(arguments) == 2
    # Behind extract's progress bars.
    _last_line(capsys, "bad.mp4")
    assert everything(tmp_path) == before
    assert everything(tiny_run) == run


@pytest.mark.parametrize("command", [["test"], ["answer", "video.mp4", "How many?"]], ids=lambda parts: parts[0])
def test_a_folder_that_is_no_run(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--run", str(tmp_path)]) == 2
    _one_line(capsys, "train one with: python -m examples.avqa fit")
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_settings(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "best.ckpt").write_bytes((tiny_run / "best.ckpt").read_bytes())
    assert main(["test", "--run", str(tmp_path)]) == 2
    _one_line(capsys, "is no run folder")


def _one_line(capsys: pytest.CaptureFixture[str], message: str) -> None:
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def _last_line(capsys: pytest.CaptureFixture[str], message: str) -> None:
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
