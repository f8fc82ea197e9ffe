"""The `test` command: a trained model's answers, its table, and the text-only baseline beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from .config import NAMES, DataConfig, ModelConfig
from .encoders import load_encoders
from .errors import UserError
from .fit import load_model
from .predicting import TEXT_ONLY, check_vocabulary, predict, table, text_only_table
from .prepare import prepare
from .released_orders import run_both_orders
from .result_files import MARKDOWN, PREDICTIONS, TABLES, check_same_questions, results_name, write_results
from .results import render
from .run_data import check_widths, load_data_config

TWO_USES = "--run RUN, or --released_weights FILE --config DATA.yaml"


def test(
    run: Path | None = None,
    released_weights: Path | None = None,
    data: DataConfig | None = None,
    model: ModelConfig | None = None,
    split: str = "test",
    checkpoint: str = "best",
    annotations: Path | None = None,
    features: Path | None = None,
    answers: Path | None = None,
    out: Path | None = None,
) -> None:
    """Test a model: accuracy by question type, modality and in total.

    Two uses:
      test --run RUN                                     a model that `fit` trained, beside the text alone
      test --released_weights FILE --config DATA.yaml    the published model's weights, in both orders of experts

    Writes predictions.csv (one row a question), table.json and table.md.

    Args:
        run: folder that `fit` wrote.
        released_weights: a state dict under the published names (.pt, .pth or .safetensors), in place of a run.
        data: where the data is, for released weights: the `data` section of a config; a run knows its own.
        model: heads and experts in use, for released weights: the `model` section of a config; sizes that the file
            shows must agree with it. Without it 8 heads and all experts, as published.
        split: "test", "val" or "train", as named in the settings.
        checkpoint: "best" or "last" of the run.
        annotations: other annotations to test on.
        features: other feature folder.
        answers: answer index of the other annotations; it must hold the same answers in the same order.
        out: where the results go; by default RUN/SPLIT, or FILE-SPLIT beside released weights. For other annotations
            FOLDER/NAME.json, FOLDER-NAME stands for SPLIT. Results of other questions are not written over.
    """
    if split not in ("train", "val", "test"):
        raise UserError(f"split must be train, val or test, got {split!r}")
    if run is not None and released_weights is not None:
        raise UserError(f"run and released_weights exclude each other; test wants {TWO_USES}")
    others: dict[str, Any] = {split: annotations, "features": features, "answers": answers}
    others = {name: path for name, path in others.items() if path is not None}
    if run is not None:
        if data is not None or model is not None:
            raise UserError(
                "data and model belong to --released_weights, a run has its own; "
                "to test it on other data use --annotations, --features and --answers"
            )
        _test_run(run, others, split, checkpoint, out)
    elif released_weights is not None:
        if data is None:
            raise UserError("data: a file of weights does not say where the data is; give --config DATA.yaml")
        if checkpoint != "best":
            raise UserError(f"checkpoint {checkpoint!r} is one of a run; leave it out with --released_weights")
        name = results_name(split, getattr(data, split), annotations)
        out = out or released_weights.with_name(f"{released_weights.stem}-{name}")
        run_both_orders(released_weights, replace(data, **others), model, split, out)
    else:
        raise UserError(f"nothing to test; test wants {TWO_USES}")


def _test_run(run: Path, others: dict[str, Any], split: str, checkpoint: str, out: Path | None) -> None:
    """`others` replace fields of the run's `DataConfig`."""
    module = load_model(run, checkpoint)
    own = load_data_config(run)
    data = replace(own, **others)
    asked: Path | None = getattr(data, split)
    if asked is None:
        raise UserError(f"split: the run was made without {split} annotations; name them with --annotations FILE")
    check_widths(module, load_encoders(data.encoder, data.weights), run, data.weights, constant=data.features is None)
    out = out or run / results_name(split, getattr(own, split), asked)
    check_same_questions(out, asked, data.answers)
    prepared = prepare(data, sorted({"train", split}), features_of=[split])
    check_vocabulary(module, prepared.vocabulary)
    predictions = predict(module, prepared, split, data)
    systems = {NAMES[module.config.architecture]: table(predictions), TEXT_ONLY: text_only_table(prepared, split)}
    write_results(out, systems, predictions)
    Console().print(render(systems))
    ours, theirs = (system.total or 0.0 for system in systems.values())
    print(f"{100 * (ours - theirs):+.2f} points against the text alone")
    print(f"Results: {out / MARKDOWN}, {out / TABLES}, {out / PREDICTIONS}")
