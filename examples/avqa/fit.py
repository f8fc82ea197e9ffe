"""The `fit` command: trains a model into a run folder."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, LambdaCallback, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from .config import DataConfig, ModelConfig, OptimizerConfig, TrainerConfig
from .errors import UserError
from .files import write_json
from .module import AVQAModule
from .prepare import Prepared, prepare

BEST, LAST, SETTINGS, FINISHED = "best.ckpt", "last.ckpt", "settings.json", "finished.json"


def fit(
    data: DataConfig,
    out: Path,
    model: ModelConfig = ModelConfig(),
    optimizer: OptimizerConfig = OptimizerConfig(),
    trainer: TrainerConfig = TrainerConfig(),
    seed: int = 713,
    if_finished: Literal["error", "skip"] = "error",
) -> None:
    """Train QA-TIGER; the same command again resumes a run that was stopped.

    Writes into `out`: settings.json, best.ckpt (by validation accuracy, the later of equals), last.ckpt and
    metrics.csv. Defaults are the published training.

    Args:
        data: what to train on.
        out: the run folder.
        model: sizes of the model.
        optimizer: learning rate and schedule.
        trainer: epochs, device, precision.
        seed: of initialisation, dropout and order.
        if_finished: what to do where `out` holds this very run, finished: stop with an error, or leave it.
    """
    check_run(out, run_settings(data, model, optimizer, trainer, seed), finished_is_fine=if_finished == "skip")
    if is_finished(out):
        print(f"{out} holds this run, finished; delete it to train anew")
        return
    prepared = prepare(data, ("train", "val"))
    train(prepared, data, out, model, optimizer, trainer, seed)
    print(f"Best model: {out / BEST}\nTest it with: python -m examples.avqa test --run {out}")


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
    try:
        module = AVQAModule.from_configs(
            model, optimizer, prepared.feature_dims, prepared.vocabulary.answers, prepared.encoders.name
        )
    except ValueError as error:
        raise UserError(f"model: {error}") from error
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / SETTINGS, run_settings(data, model, optimizer, trainer, seed))
    resume = out / LAST
    if not resume.exists():
        module.whitening.fit(prepared.samples("train", seed))
    best = ModelCheckpoint(
        dirpath=out,
        filename=BEST.removesuffix(".ckpt"),
        monitor="val/selection",
        mode="max",
        save_last=True,
        enable_version_counter=False,
    )
    callbacks: list[Callback] = [best, LearningRateMonitor("epoch")]
    if on_epoch is not None:
        callbacks.append(LambdaCallback(on_train_epoch_end=lambda lightning, _: on_epoch(lightning.current_epoch)))
    with _quiet_lightning():
        lightning = Trainer(
            max_epochs=trainer.max_epochs,
            accelerator=trainer.accelerator,
            devices=trainer.devices,
            precision=trainer.precision,  # type: ignore[arg-type]  # a str here, checked by Lightning itself
            gradient_clip_val=trainer.gradient_clip_val,
            accumulate_grad_batches=trainer.accumulate_grad_batches,
            callbacks=callbacks,
            enable_progress_bar=on_epoch is None,
            logger=CSVLogger(out, name=None, version=""),
            num_sanity_val_steps=0,
            log_every_n_steps=10**9,
            enable_model_summary=False,
            **trainer.options,
        )
        lightning.fit(
            module,
            prepared.loader("train", data.clips_per_batch, data.questions_per_clip, shuffle=True, seed=seed),
            prepared.loader("val", data.eval_clips_per_batch, None),
            ckpt_path=resume if resume.exists() else None,
            weights_only=True,
        )
    if lightning.interrupted:
        raise KeyboardInterrupt
    write_json(out / FINISHED, {"epochs": lightning.current_epoch, "best_val_accuracy": _best_score(best)})


def is_finished(out: Path) -> bool:
    """Whether the run in this folder ran to its last epoch."""
    return (out / FINISHED).exists()


def load_model(run: Path, checkpoint: str = "best") -> AVQAModule:
    """The model of a run, in evaluation mode.

    Raises:
        UserError: the run has no such checkpoint, or it is broken.
    """
    path = run / f"{checkpoint}.ckpt"
    if not path.is_file():
        raise UserError(f"no model at {path}; train one with: python -m examples.avqa fit --config CONFIG --out {run}")
    try:
        # torch raises RuntimeError for a broken archive, and KeyError or TypeError where fields are missing.
        module = AVQAModule.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    except (RuntimeError, KeyError, TypeError, EOFError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a readable checkpoint ({reason}); train again or name another run") from error
    return module.eval()


def load_settings(run: Path) -> dict[str, Any]:
    """The settings a run was made with.

    Raises:
        UserError: the folder is no run.
    """
    path = run / SETTINGS
    try:
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{run} is no run folder: {path} cannot be read ({error})") from error
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
    }
    plain: dict[str, Any] = json.loads(json.dumps(whole, default=str))
    return plain


def check_run(out: Path, settings: dict[str, Any], finished_is_fine: bool = False) -> None:
    """A run folder holds one run: others' results are neither resumed nor overwritten.

    Raises:
        UserError: `out` holds a run with other settings, or a finished one.
    """
    if not (out / LAST).exists():
        return
    before, now = _flat(load_settings(out)), _flat(settings)
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if changed:
        raise UserError(
            f"out: {out} holds a run with other settings ({', '.join(changed)}); choose another folder or delete it"
        )
    if is_finished(out) and not finished_is_fine:
        raise UserError(f"out: {out} holds a finished run; choose another folder, or delete it to train anew")


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """One level of nesting undone: {"model": {"dim": 8}} becomes {"model.dim": 8}."""
    flat: dict[str, Any] = {}
    for part, value in settings.items():
        flat |= {f"{part}.{name}": inner for name, inner in value.items()} if isinstance(value, dict) else {part: value}
    return flat


def _best_score(best: ModelCheckpoint) -> float | None:
    return None if best.best_model_score is None else round(float(best.best_model_score), 6)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silences what says nothing here: tips, the few loader workers (features are read faster than they are used)."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    torch.set_float32_matmul_precision("high")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
        # Lightning's own use of torch's tree functions.
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
        yield
    logger.setLevel(level)
