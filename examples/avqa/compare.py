"""The `compare` command: several systems over several seeds, in one table, with the text-only score and the oracle."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from threading import Thread
from typing import NoReturn

import torch
from rich.console import Console
from tqdm import tqdm

from .annotations import Question, read_json
from .concert.oracle import fit_order_blind, order_blind_accuracy
from .concert.scene import read_scenes
from .config import DataConfig, ModelConfig, OptimizerConfig, TrainerConfig
from .errors import UserError
from .files import sweep_temporaries, write_json, write_text
from .fit import check_run, check_settings, is_finished, load_model, run_settings, train
from .locks import only_here
from .predicting import TEXT_ONLY, predict, text_only_scores
from .prepare import Prepared, prepare
from .processes import cores, each_done
from .provenance import provenance
from .result_files import PREDICTIONS
from .results import (
    AccuracyTable,
    accuracy_table,
    read_predictions,
    render,
    summarise,
    tables_to_json,
    to_markdown,
    write_predictions,
)
from .shard import find_shard
from .systems import SYSTEMS, system
from .training import trains_on_gpu

ORACLE = "oracle without order"
TIMING, STARTS = ("first instrument", "last instrument"), "which instrument starts first or last"


@dataclass(frozen=True)
class _Run:
    """One model with one seed."""

    data: DataConfig
    out: Path
    model: ModelConfig
    optimizer: OptimizerConfig
    trainer: TrainerConfig
    seed: int
    threads: int


def compare(
    data: DataConfig,
    out: Path,
    model: ModelConfig = ModelConfig(),
    optimizer: OptimizerConfig = OptimizerConfig(),
    trainer: TrainerConfig = TrainerConfig(),
    systems: tuple[str, ...] = tuple(SYSTEMS),
    seeds: tuple[int, ...] = (713, 714, 715),
    jobs: int = 1,
    record: Path | None = None,
) -> None:
    """Train and test QA-TIGER, its ablations and TSPM over several seeds; the same command again resumes.

    Writes one run folder a model and seed into `out`, and table.md and table.json beside them: mean and spread over
    the seeds, the most frequent answer to the question's text and, for concerts, an oracle that knows the scene
    but not the order.

    Args:
        data: what to train and test on; it needs test annotations.
        out: folder of the runs and the table.
        model: sizes of the models; what a system is about, such as its pooling, is its own.
        optimizer: learning rate and schedule.
        trainer: epochs, device, precision; one device is used.
        systems: what to compare: "QA-TIGER", "uniform pooling", "top-K frames", "no question-aware fusion", "TSPM",
            "question only", and "E=5" for QA-TIGER with five experts.
        seeds: one run of each system for each.
        jobs: runs at a time, each in a process with its share of the cores.
        record: also write the table with date, versions and settings to this JSON file.
    """
    if data.test is None:
        raise UserError("data.test: annotations to test on are missing")
    if jobs < 1 or not seeds:
        raise UserError(f"jobs and the number of seeds must be at least 1, got {jobs} and {len(seeds)}")
    if len(set(seeds)) < len(seeds):
        raise UserError(f"seeds: each is trained once, got {', '.join(map(str, seeds))}")
    if not systems or len(set(systems)) < len(systems):
        raise UserError(f"systems: name each once, and at least one; got {', '.join(systems) or 'none'}")
    trainer = _one_process(trainer)
    threads = max(cores() // jobs, 1)
    runs: dict[str, list[_Run]] = {}
    for name in systems:
        chosen = system(name)
        its_data, its_model = chosen.configure(data, model)
        check_settings(its_data, its_model, optimizer, trainer, seeds)
        runs[name] = [
            _Run(its_data, out / f"{chosen.folder}-{seed}", its_model, optimizer, trainer, seed, threads)
            for seed in seeds
        ]
    # Seed by seed, so that a comparison that is stopped has whole rounds.
    ordered = [run for round_ in zip(*runs.values(), strict=True) for run in round_]
    for run in ordered:
        check_run(run.out, _settings(run), finished_is_fine=True)
    prepared = prepare(data)
    with only_here(out, "compares in"):
        _run_all([run for run in ordered if not _is_tested(run)], jobs)
    tables = {name: summarise([_run_table(run) for run in group]) for name, group in runs.items()}
    tables[TEXT_ONLY] = _table(prepared.questions["test"], text_only_scores(prepared, "test"))
    if oracle := _oracle_table(data, prepared):
        tables[ORACLE] = oracle
    sweep_temporaries(out)
    write_text(out / "table.md", to_markdown(tables))
    settings = run_settings(data, model, optimizer, trainer, seeds[0]) | {
        "seed": list(seeds),
        "systems": list(systems),
    }
    for path in filter(None, (out / "table.json", record)):
        write_json(path, {"provenance": provenance(), "settings": settings, "tables": tables_to_json(tables)})
    Console().print(render(tables))
    print(f"Results: {out / 'table.md'}, {out / 'table.json'}")


def _one_process(trainer: TrainerConfig) -> TrainerConfig:
    """The trainer on one device, as runs are told apart and tested in the process that trains them.

    Raises:
        UserError: several processes or devices were asked for.
    """
    launched = find_shard(None, os.environ)
    if launched.size > 1:
        raise UserError(
            f"compare trains one model after another, and {launched.source} started {launched.size} processes; start "
            f"it once, with jobs for several at a time, or train each model by fit"
        )
    if trainer.num_nodes != 1 or trainer.devices not in ("auto", 1, "1"):
        raise UserError(
            f"compare trains on one device, got trainer.devices={trainer.devices} and trainer.num_nodes="
            f"{trainer.num_nodes}; use jobs for several runs at a time, or train each model by fit"
        )
    return replace(trainer, devices=1)


def _settings(run: _Run) -> dict[str, object]:
    return run_settings(run.data, run.model, run.optimizer, run.trainer, run.seed)


def _is_tested(run: _Run) -> bool:
    return is_finished(run.out) and (run.out / PREDICTIONS).exists()


def _run_all(runs: list[_Run], jobs: int) -> None:
    """Runs in processes of their own, with one bar over all epochs."""
    if not runs:
        return
    epochs = sum(run.trainer.max_epochs for run in runs)
    ended: SimpleQueue[int] = get_context("spawn").SimpleQueue()
    with tqdm(total=epochs, desc=f"{len(runs)} runs", unit="epoch") as bar:
        # Results are waited for elsewhere, so that the bar moves with every epoch.
        counting = Thread(target=_count, args=(ended, bar), daemon=True)
        counting.start()
        try:
            for _ in each_done(_train_and_test, [(run,) for run in runs], jobs, _start_worker, (ended,), finish=False):
                continue
        finally:
            # A process that was killed while it told its epochs has left the queue locked.
            Thread(target=ended.put, args=(0,), daemon=True).start()
            counting.join(timeout=5)


def _count(ended: SimpleQueue[int], bar: tqdm[NoReturn]) -> None:
    """Moves the bar by the epochs that are told; 0 ends it."""
    while epochs := ended.get():
        bar.update(epochs)


_ended: SimpleQueue[int] | None = None


def _start_worker(ended: SimpleQueue[int]) -> None:
    global _ended
    _ended = ended


def _train_and_test(run: _Run) -> None:
    assert _ended is not None
    ended = _ended
    torch.set_num_threads(run.threads)
    prepared = prepare(run.data, for_gpu=trains_on_gpu(run.trainer))
    if not is_finished(run.out):
        done = 0

        def report(epoch: int) -> None:
            nonlocal done
            ended.put(epoch + 1 - done)
            done = epoch + 1

        train(
            prepared,
            run.data,
            run.out,
            run.model,
            run.optimizer,
            run.trainer,
            run.seed,
            on_epoch=report,
        )
    module = load_model(run.out)
    write_predictions(run.out / PREDICTIONS, predict(module, prepared, "test", run.data, bar=False))


def _run_table(run: _Run) -> AccuracyTable:
    predictions = read_predictions(run.out / PREDICTIONS)
    return _table([prediction.question for prediction in predictions], [prediction.score for prediction in predictions])


def _table(questions: Sequence[Question], scores: Sequence[float]) -> AccuracyTable:
    """Accuracy by type and modality, with one row for the clearest test of timing."""
    grouped = [replace(question, topic=STARTS if question.topic in TIMING else "") for question in questions]
    return accuracy_table(grouped, scores, topics=True)


def _oracle_table(data: DataConfig, prepared: Prepared) -> AccuracyTable | None:
    """The order-blind oracle's table, for data that has scenes beside its annotations."""
    assert data.test is not None
    path = data.train.parent / "scenes.json"
    if not path.exists():
        return None
    scenes = read_scenes(path)
    rules = fit_order_blind(scenes, read_json(data.train, "annotations"))
    scores = order_blind_accuracy(scenes, read_json(data.test, "annotations"), rules)
    return _table(prepared.questions["test"], scores)
