"""Released weights tested in both orders of experts: the published code's indexing, and each question by its own.

b sample of a batch of B, t frame of T.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from .checkpoint import from_released
from .config import DataConfig, ModelConfig, OptimizerConfig
from .encoders import load_encoders
from .errors import UserError
from .module import AVQAModule
from .predicting import predict, table
from .prepare import Prepared, feature_dims, prepare
from .released import Released, read_released
from .result_files import (
    MARKDOWN,
    PREDICTIONS,
    TABLES,
    check_same_questions,
    remove_table,
    write_results,
    write_table,
)
from .results import render

PUBLISHED_ORDER, OWN_ORDER = "published indexing", "own experts"
ORDERS = {PUBLISHED_ORDER: True, OWN_ORDER: False}
"""Column -> `released_expert_order`."""
PUBLISHED_BATCH = 32


def run_both_orders(path: Path, data: DataConfig, model: ModelConfig | None, split: str, out: Path) -> None:
    """Tests a file of released weights in both orders, in one table; writes the predictions of both.

    Padded seconds count as frames, in both: the published code knows no padding, and the weights were trained so.

    Raises:
        UserError: the file, the config and the data do not fit each other.
    """
    released = read_released(path)
    config = released.model_config(model)
    asked: Path | None = getattr(data, split)
    if asked is None:
        raise UserError(f"data.{split}: no annotations are named; name them with --annotations FILE")
    _check_widths(released, data)
    folders = {name: out / name.replace(" ", "_") for name in ORDERS}
    for folder in folders.values():
        check_same_questions(folder, asked, data.answers)
    prepared = replace(prepare(data, [split]), count_padding=True)
    if released.num_answers != len(prepared.vocabulary):
        raise UserError(
            f"{path} chooses from {released.num_answers} answers, {prepared.vocabulary.path} holds "
            f"{len(prepared.vocabulary)}; give the answer index that it was trained with"
        )
    predictions = {}
    for name, order in ORDERS.items():
        module = _module(released, replace(config, released_expert_order=order), prepared)
        predictions[name] = predict(module, prepared, split, data)
    systems = {name: table(answered) for name, answered in predictions.items()}
    notes = _notes(released, data.clips_per_batch)
    for folder in (out, *folders.values()):
        remove_table(folder)
    for name, folder in folders.items():
        write_results(folder, {name: systems[name]}, predictions[name])
    write_table(out, systems, notes)
    Console().print(render(systems))
    print("\n".join(notes))
    print(f"Results: {out / MARKDOWN}, {out / TABLES}, {out}/*/{PREDICTIONS}")


def _check_widths(released: Released, data: DataConfig) -> None:
    """Compares what the weights read with what the preset gives, before any feature is read."""
    given = feature_dims(load_encoders(data.encoder, data.weights).dims, constant=data.features is None)
    for kind, width in released.feature_dims.items():
        if given[kind] != width:
            source = "constant features" if data.features is None else f"the preset {data.encoder!r}"
            raise UserError(
                f"{released.path} reads {kind} of {width} channels, {source} give {given[kind]}; set data.features "
                "and data.encoder to what the weights were trained with (the published ones: paper)"
            )


def _module(released: Released, config: ModelConfig, prepared: Prepared) -> AVQAModule:
    ours, _ = from_released(released.state)
    try:
        module = AVQAModule.from_configs(
            config, OptimizerConfig(), prepared.feature_dims, prepared.vocabulary.answers, prepared.encoders.name
        )
    except ValueError as error:
        raise UserError(f"model: {error}") from error
    module.model.load_state_dict(ours, strict=True)
    return module


def _notes(released: Released, batch: int) -> list[str]:
    """Which column is which, and why they differ."""
    notes = [
        f"{PUBLISHED_ORDER} (released_expert_order: true): as the published code computes, and as these weights were "
        "trained: frame t of sample b in a batch of B takes the experts of sample (b·T + t) mod B, so an answer "
        f"depends on its batch. Single questions in the file's order, batches of {batch}, the last one short. "
        "Compare this column with the published accuracy.",
        f"{OWN_ORDER} (released_expert_order: false): every question takes its own experts, whatever its batch, as "
        "models trained here do. These weights were not trained so.",
    ]
    if batch != PUBLISHED_BATCH:
        notes.append(f"The published accuracy was measured in batches of {PUBLISHED_BATCH} (data.clips_per_batch).")
    if released.text_tensors:
        notes.append(
            f"The frozen text tower in the file ({released.text_tensors} tensors) was left out: data.encoder encodes "
            "the questions."
        )
    return notes
