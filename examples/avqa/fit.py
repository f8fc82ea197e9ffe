"""The `fit` command: trains a model into a run folder."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import seed_everything
from lightning.pytorch.callbacks import Callback, LambdaCallback
from lightning.pytorch.utilities import rank_zero_only

from .config import DataConfig, ModelConfig, OptimizerConfig, TrainerConfig, check_model_numbers, check_numbers
from .encoders import load_encoders
from .epoch_state import EpochState
from .errors import UserError
from .files import write_json
from .finite import Finite
from .json_text import decoded
from .locks import forget_killed, only_here
from .metrics_file import MetricsFile, read_metrics
from .module import AVQAModule
from .prepare import Prepared, feature_dims, prepare
from .saving import BEST, LAST, Checkpoints
from .torch_file import load_plain
from .training import check_trainer, make_trainer, quiet_lightning, trains_on_gpu
from .typed import from_plain

SETTINGS, FINISHED, METRICS = "settings.json", "finished.json", "metrics.csv"
_WITHOUT_EFFECT = {"data.workers", "data.questions_cache"}
"""Settings that change no result: a run may go on with others."""

rank_zero_print = rank_zero_only(print)


def fit(
    data: DataConfig,
    out: Path,
    model: ModelConfig = ModelConfig(),
    optimizer: OptimizerConfig = OptimizerConfig(),
    trainer: TrainerConfig = TrainerConfig(),
    seed: int = 713,
    if_finished: Literal["error", "skip"] = "error",
) -> None:
    """Train a model, QA-TIGER by default; the same command again resumes a run that was stopped.

    Writes into `out`: settings.json, best.ckpt (by validation accuracy, the later of equals), last.ckpt and
    metrics.csv. Defaults are the published training.

    Args:
        data: what to train on.
        out: the run folder.
        model: architecture and sizes.
        optimizer: learning rate and schedule.
        trainer: epochs, device, precision.
        seed: of initialisation, dropout and order.
        if_finished: what to do where `out` holds this very run, finished: stop with an error, or leave it.
    """
    check_settings(data, model, optimizer, trainer, [seed])
    settings = run_settings(data, model, optimizer, trainer, seed)
    check_run(out, settings, finished_is_fine=if_finished == "skip")
    if is_finished(out):
        forget_killed(out)
        rank_zero_print(f"{out} holds this run, finished; delete it to train anew")
        return
    prepared = prepare(data, ("train", "val"), for_gpu=trains_on_gpu(trainer))
    if run_settings(data, model, optimizer, trainer, seed) != settings:
        raise UserError("data: annotations were changed while they were read; give the command again")
    train(prepared, data, out, model, optimizer, trainer, seed)
    rank_zero_print(f"Best model: {out / BEST}\nTest it with: python -m examples.avqa test --run {out}")


def train(
    prepared: Prepared,
    data: DataConfig,
    out: Path,
    model: ModelConfig,
    optimizer: OptimizerConfig,
    trainer: TrainerConfig,
    seed: int,
    on_epoch: Callable[[int], None] | None = None,
) -> None:
    """What `fit` does, on data that is prepared; with `on_epoch`, each epoch is told to it in place of a bar."""
    seed_everything(seed, workers=True, verbose=False)
    module = _module(model, optimizer, prepared.feature_dims, prepared.vocabulary.answers, prepared.encoders.name)
    prepared = prepared.for_model(model)
    loader = prepared.loader("train", data.clips_per_batch, data.questions_per_clip, shuffle=True, seed=seed)
    finite = Finite(prepared.questions)
    callbacks: list[Callback] = [
        EpochState(seed, module.train_loss, loader.batches),
        finite,
        MetricsFile(out / METRICS),
        Checkpoints(out, "val/selection", trainer.checkpoint_steps, finite.check),
    ]
    if on_epoch is not None:
        callbacks.append(LambdaCallback(on_train_epoch_end=lambda lightning, _: on_epoch(lightning.current_epoch)))
    ctrl_c = signal.getsignal(signal.SIGINT)
    with quiet_lightning(), ExitStack() as alone:
        lightning = make_trainer(trainer, out, callbacks, bar=on_epoch is None)
        if lightning.is_global_zero:
            settings = run_settings(data, model, optimizer, trainer, seed)
            alone.enter_context(only_here(out, "trains into"))
            # Another process may have trained there until this moment.
            check_run(out, settings)
            _remove_unfinished(out)
            write_json(out / SETTINGS, settings)
        resume = out / LAST
        if model.whiten and not resume.exists():
            module.whitening.fit(prepared.samples("train", seed))
        try:
            lightning.fit(
                module,
                loader,
                prepared.evaluation_loader("val", data, model.released_expert_order),
                ckpt_path=resume if resume.exists() else None,
                weights_only=True,
            )
        except SystemExit:
            # Lightning's answer to Ctrl-C, and to the signal that asks a process to end. It turns Ctrl-C off before.
            signal.signal(signal.SIGINT, ctrl_c)
            raise KeyboardInterrupt from None
        if lightning.is_global_zero:
            # A run may be told not to validate after every epoch.
            accuracies = [float(row["val/accuracy"]) for row in read_metrics(out / METRICS) if row["val/accuracy"]]
            best = max(accuracies, default=None)
            write_json(out / FINISHED, {"epochs": lightning.current_epoch, "best_val_accuracy": best})


def _remove_unfinished(out: Path) -> None:
    """Files that a run was writing when it was killed."""
    for path in out.glob(".*.tmp.*"):
        path.unlink()


def _module(
    model: ModelConfig, optimizer: OptimizerConfig, dims: Mapping[str, int], answers: Sequence[str], encoder: str
) -> AVQAModule:
    try:
        return AVQAModule.from_configs(model, optimizer, dims, answers, encoder)
    # Sizes that do not fit each other, or that no memory holds.
    except (ValueError, TypeError, OverflowError, RuntimeError, MemoryError) as error:
        said = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(f"model: {said}") from error


def is_finished(out: Path) -> bool:
    """Whether the run in this folder ran to its last epoch."""
    return (out / FINISHED).exists()


def model_file(run: Path, checkpoint: str = "best") -> Path:
    """Where the model of a run is.

    Raises:
        UserError: the run has no such checkpoint.
    """
    path = run / f"{checkpoint}.ckpt"
    if not path.is_file():
        raise UserError(
            f"no model at {path}; train one with: python -m examples.avqa fit --config CONFIG --out {run} "
            "(`make demo` makes runs/demo), or name another run"
        )
    return path


def load_model(run: Path, checkpoint: str = "best") -> AVQAModule:
    """The model of a run, in evaluation mode.

    Raises:
        UserError: the run has no such checkpoint, or it is broken.
    """
    path = model_file(run, checkpoint)
    try:
        module = _built(load_plain(path))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is cut off, or no checkpoint of this program ({error}); train again in an empty folder, or name "
            f"another run"
        ) from error
    return module.eval()


def _built(checkpoint: Any) -> AVQAModule:
    """The module of a checkpoint.

    Raises:
        ValueError: it holds no such module.
    """
    try:
        told, state = checkpoint["hyper_parameters"], dict(checkpoint["state_dict"])
        check_model_numbers(from_plain(ModelConfig, told["model"]))
        from_plain(OptimizerConfig, told["optimizer"])
        if not all(isinstance(answer, str) for answer in told["answers"]):
            raise ValueError("its answers are no text")
        # First without memory: sizes may be any, and only those of the tensors that are there are believed.
        with torch.device("meta"):
            shapes = {name: tensor.shape for name, tensor in AVQAModule(**told).state_dict().items()}
        if shapes != {name: tensor.shape for name, tensor in state.items()}:
            raise ValueError("its sizes are not those of its tensors")
        module = AVQAModule(**told)
        module.load_state_dict(state)
    except (ValueError, UserError) as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # of many kinds: what is in the file may be of any type
        said = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ValueError(said[:200]) from error
    return module


def load_settings(run: Path) -> dict[str, Any]:
    """The settings a run was made with.

    Raises:
        UserError: the folder is no run.
    """
    path = run / SETTINGS
    try:
        settings: Any = decoded(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{run} is no run folder: {path} cannot be read ({error})") from error
    if not isinstance(settings, dict) or not isinstance(settings.get("data"), dict):
        raise UserError(f"{run} is no run folder: {path} does not hold what `fit` writes")
    return settings


def run_settings(
    data: DataConfig, model: ModelConfig, optimizer: OptimizerConfig, trainer: TrainerConfig, seed: int
) -> dict[str, Any]:
    """Everything a run was told, as plain values."""
    whole = {
        "data": asdict(data),
        "model": asdict(model),
        "optimizer": asdict(optimizer),
        "trainer": asdict(trainer),
        "seed": seed,
        "annotations": _digests([path for path in (data.answers, data.train, data.val) if path.is_file()]),
    }
    plain: dict[str, Any] = json.loads(json.dumps(whole, default=str))
    return plain


def _digests(paths: Sequence[Path]) -> dict[str, str]:
    """By file name; by the whole path where two files have the same name."""
    names = [path.name for path in paths]
    return {path.name if names.count(path.name) == 1 else str(path): _digest(path) for path in paths}


def _digest(path: Path) -> str:
    """Tells a file's content: other questions under an old name are another run."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def check_settings(
    data: DataConfig, model: ModelConfig, optimizer: OptimizerConfig, trainer: TrainerConfig, seeds: Sequence[int]
) -> None:
    """Tells settings that cannot work before any data is read.

    Raises:
        UserError: a number out of range, an unknown encoder, sizes that do not fit each other, or devices that are
            not there.
    """
    check_numbers(data, model, optimizer, trainer, seeds)
    check_trainer(trainer, data, model)
    dims = feature_dims(load_encoders(data.encoder, data.weights).dims, constant=data.features is None)
    with torch.device("meta"):
        _module(model, optimizer, dims, ["any", "other"], data.encoder)


def check_run(out: Path, settings: dict[str, Any], finished_is_fine: bool = False) -> None:
    """A run folder holds one run: others' results are neither resumed nor overwritten.

    A run that was made before an option was there ran with that option's default.

    Raises:
        UserError: `out` is a file, or holds a run with other settings, a finished one, or one that cannot resume.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"out: {out} is a file; name a folder for the run")
    # Or it would be told at the end of the first epoch.
    read_metrics(out / METRICS)
    if not (out / LAST).exists() and not is_finished(out):
        return
    before, now = _flat(load_settings(out)), _flat(settings)
    before = {name: value for name, value in _defaults().items() if name in now} | before
    names = (before.keys() | now.keys()) - _WITHOUT_EFFECT
    if "auto" in (before.get("trainer.devices"), now.get("trainer.devices")):
        # As many as there are, which no setting tells.
        names -= {"trainer.devices"}
    changed = sorted(name for name in names if before.get(name) != now.get(name))
    if changed:
        raise UserError(
            f"out: {out} holds a run with other settings ({', '.join(changed)}); choose another folder or delete it"
        )
    if is_finished(out) and not finished_is_fine:
        raise UserError(f"out: {out} holds a finished run; choose another folder, or delete it to train anew")
    if not is_finished(out):
        load_model(out, LAST.removesuffix(".ckpt"))


def _defaults() -> dict[str, Any]:
    """The options with a default, flat, as `run_settings` writes them."""
    parts = {"data": DataConfig, "model": ModelConfig, "optimizer": OptimizerConfig, "trainer": TrainerConfig}
    flat = {}
    for part, config in parts.items():
        for option in fields(config):
            made = option.default if option.default_factory is MISSING else option.default_factory()
            if made is not MISSING:
                flat[f"{part}.{option.name}"] = made
    plain: dict[str, Any] = json.loads(json.dumps(flat, default=str))
    return plain


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """One level of nesting undone: {"model": {"dim": 8}} becomes {"model.dim": 8}."""
    flat: dict[str, Any] = {}
    for part, value in settings.items():
        flat |= {f"{part}.{name}": inner for name, inner in value.items()} if isinstance(value, dict) else {part: value}
    return flat
