"""Trains tiny models in the processes that torchrun started, all in one start: `-m tests.examples.pair ROOT`.

ROOT/data is the tiny data set; each run is written into ROOT/pair/NAME.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from examples.avqa.config import OptimizerConfig
from examples.avqa.prepare import prepare
from tests.examples.stopping import copied_before_batch
from tests.examples.tiny_run import MODEL, TRAINER, TinyData, train_tiny

# Without dropout, which processes draw each for itself.
_PLAIN = replace(MODEL, dropout=0.0)
_PUBLISHED = OptimizerConfig(label_smoothing=0.1)
_PAIR = replace(TRAINER, devices=2)
_DDP = replace(_PAIR, strategy="ddp", precision="64-true")
_FSDP2 = replace(_PAIR, strategy="fsdp2", gradient_clip_val=0.5, checkpoint_steps=1)
_STEADY = {"model": _PLAIN, "optimizer": _PUBLISHED}


def runs(data: TinyData) -> Mapping[str, dict[str, Any]]:
    """What is trained, by name; 8 items of 14 questions, and 2 clips to validate on."""
    # The last batch has one item, and so has every batch of validation: a process has none.
    uneven = replace(data.config, clips_per_batch=7, eval_clips_per_batch=1)
    return {
        "ddp": _STEADY | {"data": uneven, "trainer": _DDP},
        "ddp-accumulated": _STEADY
        | {
            "data": replace(data.config, clips_per_batch=3, questions_per_clip=1),
            "trainer": replace(_DDP, accumulate_grad_batches=2, gradient_clip_val=0.5, tensorboard=True),
        },
        "ddp-uniform": _STEADY | {"model": replace(_PLAIN, pooling="uniform"), "trainer": _DDP},
        "ddp-single": _STEADY | {"data": uneven, "trainer": replace(_DDP, precision="32-true")},
        "fsdp2": _STEADY | {"data": uneven, "trainer": _FSDP2},
        "fsdp2-tspm": _STEADY | {"model": replace(_PLAIN, architecture="tspm"), "trainer": _FSDP2},
        "fsdp2-bf16": _STEADY
        | {"data": uneven, "trainer": replace(_FSDP2, precision="bf16-mixed", accumulate_grad_batches=2)},
    }


def resumed(data: TinyData) -> Mapping[str, dict[str, Any]]:
    """What is trained, and once more from what a kill in the middle of an epoch would leave; with dropout."""
    return {
        f"{strategy}-dropout": {"trainer": replace(_PAIR, strategy=strategy, checkpoint_steps=1)}
        for strategy in ("ddp", "fsdp2")
    }


def main(root: Path) -> None:
    """Trains everything."""
    data, out = TinyData(root / "data"), root / "pair"
    for name, run in runs(data).items():
        train_tiny(data, out / name, **run)
    for name, run in resumed(data).items():
        with copied_before_batch(6, out / name, out / f"{name}-killed"):
            train_tiny(data, out / name, **run)
        train_tiny(data, out / f"{name}-killed", **run)


if __name__ == "__main__":
    # Encoded once, by whoever comes first; others read it.
    prepare(TinyData(Path(sys.argv[1]) / "data").config, ("train", "val"))
    main(Path(sys.argv[1]))
