"""YAML configurations, the command line, and the settings that folders keep."""

from __future__ import annotations

import contextlib
import functools
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from examples.avqa import cli
from examples.avqa.compare import compare
from examples.avqa.concert import build
from examples.avqa.concert.scene import Player, Scene, read_scenes
from examples.avqa.concert.settings import ConcertSettings
from examples.avqa.config import DataConfig, ModelConfig, OptimizerConfig, TrainerConfig
from examples.avqa.errors import UserError
from examples.avqa.fit import check_run, check_settings, fit, run_settings
from examples.avqa.run_data import load_data_config
from tests.stress.fuzz.json_changes import NAMES, json_changed
from tests.stress.fuzz.parser import Draw, Files, Parser
from tests.stress.fuzz.yaml_changes import yaml_changed

_CONFIG = {
    "data": {"answers": "a.json", "train": "t.json", "val": "v.json", "folders": {"audio": "vggish"}, "frames": 60},
    "model": {
        "dim": 16,
        "heads": 2,
        "num_experts": 2,
        "top_k": 2,
        "whiten": {"question": 8, "words": 8},
        "dropout": 0.1,
    },
    "optimizer": {"lr": 1e-3, "betas": [0.9, 0.99], "schedule": "cosine"},
    "trainer": {"max_epochs": 2, "accelerator": "cpu", "devices": 1, "gradient_clip_val": 1.0},
    "seed": 3,
    "out": "run",
}
_ARGUMENTS = ("--data.answers", "a.json", "--data.train=t.json", "--data.val", "v.json", "--out", "run",
              "--model.dim", "16", "--optimizer.betas", "[0.9, 0.99]", "--model.whiten", '{"words": 8, "question": 8}',
              "--trainer.devices", "1", "--data.folders.audio", "vggish", "--seed", "7")  # fmt: skip
_WORDS: tuple[str, ...] = (
    *NAMES,
    "--",
    "-",
    "--config",
    "--config=",
    "--print_config",
    "--data",
    "--data.train",
    "--data=x",
    "--model",
    "--model.dim",
    "--model.dim=",
    "--model.whiten.question=8",
    "--trainer.options",
    '{"max_steps": 1}',
    "--optimizer.lr=nan",
    "--optimizer.lr=1e999",
    "--seed=-1",
    "--seed=" + "9" * 5000,
    "[" * 5000,
    "{" * 500,
    "null",
    "!!python/object/apply:os.system ['touch canary']",
    "&a [*a]",
    "--" + "x" * 100_000,
    "--data.folders.audio.x=y",
    "\ud800",
)


# Made once: it takes longer than all that it reads.
_parser = functools.cache(cli.command_parser)


def _given(arguments: Sequence[str], folder: Path) -> None:
    """Runs the command line up to where data would be read."""
    commands: dict[str, Callable[..., None]] = {"fit": fit, "compare": compare}
    command = commands[arguments[0]]

    @functools.wraps(command)
    def checked(**values: Any) -> None:
        nothing: dict[str, Any] = {
            "model": ModelConfig(),
            "optimizer": OptimizerConfig(),
            "trainer": TrainerConfig(),
            "seed": 713,
        }
        chosen = nothing | values
        parts = (chosen["data"], chosen["model"], chosen["optimizer"], chosen["trainer"])
        check_settings(*parts, [chosen["seed"]])
        json.dumps(run_settings(*parts, chosen["seed"])).encode()

    error = io.StringIO()
    with (
        mock.patch.object(cli, "command_function", return_value=checked),
        mock.patch.object(cli, "command_parser", _parser),
        contextlib.redirect_stderr(error),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        try:
            code: object = cli.main(arguments)
        except SystemExit as stopped:
            code = stopped.code
    if code != 0:
        assert code == 2, f"exit code {code}"
        told = error.getvalue().splitlines()
        assert len(told) == 1, f"{len(told)} lines: {told[:3]}"
        assert told[0].startswith("error: "), told[0]
        # What is wrong with an option names the option; only what is wrong with a file names the file.
        raise UserError(f"{told[0]} ({folder})")


def _configured(folder: Path) -> None:
    _given(["fit", "--config", str(folder / "config.yaml")], folder)


def _commanded(folder: Path) -> None:
    words = (folder / "arguments").read_bytes().decode("utf-8", "surrogateescape").split("\n")
    # What a system hands over: no NUL, nothing that is no bytes.
    _given(["fit", *(word.replace("\0", "") for word in words)], folder)


def _word_changed(draw: Draw, data: bytes) -> bytes:
    words = data.decode("utf-8", "surrogateescape").split("\n")
    at = draw.number(0, len(words) - 1)
    new = draw.one(_WORDS)
    kept = draw.number(0, 2)
    changed = [*words[:at], *([new] if kept < 2 else []), *words[at + (kept != 0) :]]
    return "\n".join(changed).encode("utf-8", "surrogatepass")


def _settings() -> dict[str, Any]:
    return run_settings(
        DataConfig(Path("a.json"), Path("t.json"), Path("v.json"), features=Path("f"), folders={"audio": "vggish"}),
        ModelConfig(dim=16, whiten={"question": 8}),
        OptimizerConfig(),
        TrainerConfig(),
        713,
    )


def _run_seeds() -> tuple[Files, ...]:
    finished = b'{"epochs": 1, "best_val_accuracy": 0.5}'
    return ({"settings.json": json.dumps(_settings(), indent=1).encode(), "finished.json": finished},)


def _read_run(folder: Path) -> None:
    data = load_data_config(folder)
    for name in ("answers", "train", "val"):
        assert isinstance(getattr(data, name), Path)
    assert isinstance(data.encoder, str)
    assert all(isinstance(part, str) for pair in data.folders.items() for part in pair)
    assert data.frames is None or type(data.frames) is int
    check_run(folder, _settings(), finished_is_fine=True)


def _concert_seeds() -> tuple[Files, ...]:
    player = Player("flute", 0.5, ((0.5, 3.0), (4.0, 9.0)), True, False, 0, 1, 0.5, 3.0, 5)
    scene = Scene("test_0", "test", 30.0, (player, player), "indoor", (1.0, 2.0), 7)
    settings = json.dumps(ConcertSettings().to_json()).encode()
    return ({"settings.json": settings, "scenes.json": json.dumps([scene.to_json()]).encode()},)


def _read_concert(folder: Path) -> None:
    build._check_folder(folder, ConcertSettings())
    for scene in read_scenes(folder / "scenes.json"):
        assert sum(player.sounding for player in scene.players) >= 0
        json.dumps(scene.to_json(), allow_nan=False)


PARSERS = (
    Parser(
        "config",
        lambda: ({"config.yaml": yaml.safe_dump(_CONFIG).encode()},),
        {"config.yaml": (yaml_changed,)},
        _configured,
    ),
    Parser(
        "command-line",
        lambda: ({"arguments": "\n".join(_ARGUMENTS).encode()},),
        {"arguments": (_word_changed,)},
        _commanded,
    ),
    Parser("run-settings", _run_seeds, {"settings.json": (json_changed,)}, _read_run),
    Parser(
        "concert-settings",
        _concert_seeds,
        {"settings.json": (json_changed,), "scenes.json": (json_changed,)},
        _read_concert,
    ),
)
