"""Lightning's Trainer as this program uses it: strategies, loggers, checks before any data is read."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.strategies import ModelParallelStrategy

from .config import DataConfig, ModelConfig, TrainerConfig
from .errors import UserError
from .saving import LAST, WholeCheckpoints
from .shard import find_shard
from .torch_file import load_plain

TENSORBOARD = "tensorboard"


def make_trainer(config: TrainerConfig, out: Path, callbacks: Sequence[Callback], bar: bool) -> Trainer:
    """The trainer of a run.

    Args:
        config: what it is told.
        out: the run folder; a last.ckpt in it says from which step on TensorBoard's curves are drawn anew.
        callbacks: the run's own.
        bar: whether to show progress.

    Raises:
        UserError: Lightning refuses something.
    """
    loggers: list[Logger] = []
    added: list[Callback] = []
    if config.early_stopping_patience is not None:
        # At the end of validation: before the epoch's last.ckpt is written, which holds the patience that is left.
        added.append(
            EarlyStopping(
                "val/accuracy", mode="max", patience=config.early_stopping_patience, check_on_train_epoch_end=False
            )
        )
    if config.tensorboard:
        loggers.append(TensorBoardLogger(out, name="", version=TENSORBOARD, purge_step=_steps_done(out / LAST)))
        added.append(LearningRateMonitor("epoch"))
    return _trainer(config, callbacks=[*callbacks, *added], logger=loggers, bar=bar, default_root_dir=out)


def trains_on_gpu(config: TrainerConfig) -> bool:
    """Whether there is a CUDA device, and the trainer is free to use it."""
    return config.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def check_trainer(config: TrainerConfig, data: DataConfig, model: ModelConfig) -> None:
    """Tells what cannot be trained as asked, before any data is read.

    Raises:
        UserError: a device, precision or strategy that is not there, another number of processes than were started, or
            data that cannot be shared among them.
    """
    with quiet_lightning():
        trainer = _trainer(config, callbacks=[], logger=[], bar=False)
    count = trainer.num_devices * trainer.num_nodes
    environment = getattr(trainer.strategy, "cluster_environment", None)
    # On one device Lightning looks at no environment: every process would train alone, into the same folder.
    started = count if environment else find_shard(None, os.environ).size
    if environment and environment.creates_processes_externally:
        started = environment.world_size()
    if started != count:
        raise UserError(
            f"trainer: {started} processes were started, but devices x num_nodes is {trainer.num_devices} x "
            f"{trainer.num_nodes}; make them equal"
        )
    if count > max(data.clips_per_batch, 1):
        raise UserError(
            f"data.clips_per_batch must be at least the number of processes, {count}, got {data.clips_per_batch}"
        )
    if count > 1 and model.released_expert_order:
        raise UserError(
            "model.released_expert_order lets the answers depend on the batch, which several processes would split; "
            "give trainer.devices 1"
        )


def _trainer(
    config: TrainerConfig, callbacks: list[Callback], logger: list[Logger], bar: bool, **others: Any
) -> Trainer:
    # A job that SLURM ends is started again by its own script: Lightning would save a file of its own kind for that.
    plugins: list[Any] = [WholeCheckpoints()]
    if SLURMEnvironment.detect():
        plugins.append(SLURMEnvironment(auto_requeue=False))
    fsdp2 = config.strategy == "fsdp2"
    try:
        return Trainer(
            max_epochs=config.max_epochs,
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.num_nodes,
            strategy=ModelParallelStrategy(save_distributed_checkpoint=False) if fsdp2 else config.strategy,
            precision=config.precision,  # type: ignore[arg-type]  # a str here, checked by Lightning itself
            gradient_clip_val=config.gradient_clip_val,
            accumulate_grad_batches=config.accumulate_grad_batches,
            callbacks=callbacks,
            plugins=plugins,
            enable_progress_bar=bar,
            enable_checkpointing=bool(callbacks),
            logger=logger,
            # The loaders share each batch themselves.
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            **others,
            **config.options,
        )
    except Exception as error:  # of many kinds: each of Lightning's parts looks at its own options
        raise UserError(f"trainer: {next(iter(str(error).splitlines()), type(error).__name__)}") from error


def _steps_done(last: Path) -> int | None:
    """The optimizer steps of a checkpoint, or None where there is none."""
    if not last.exists():
        return None
    try:
        stored = load_plain(last, mmap=True, checksums=False)
        if not isinstance(stored, dict):
            raise ValueError("it holds no fields")
        steps = stored["global_step"]
    except (ValueError, KeyError) as error:
        raise UserError(f"{last} is no checkpoint of this program ({error}); delete it to train anew") from error
    if type(steps) is not int or steps < 0:
        raise UserError(f"{last} tells no number of steps; delete it to train anew")
    return steps


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silences what says nothing here: tips, the few loader workers (features are read faster than they are used)."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        for message in (
            ".*does not have many workers.*",
            ".*exists and is not empty.*",
            # Lightning's own use of torch's tree functions.
            ".*isinstance.treespec, LeafSpec.*",
            # Metrics are summed over processes by torchmetrics, which Lightning does not see.
            ".*recommended to use .*sync_dist=True.*",
            # `EpochState` does that.
            ".*your dataloader is not resumable.*",
            # No model changes what its layers return in place.
            ".*returned a view tensor.*",
            # Nothing is logged by the step.
            ".*smaller than the logging interval.*",
        ):
            warnings.filterwarnings("ignore", message=message)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
