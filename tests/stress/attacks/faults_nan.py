"""Numbers that are none, put into training at a pseudo-random batch."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import torch

from examples.avqa.module import AVQAModule
from tests.examples.poison import WHERE, poisoned, step_of
from tests.stress.attack import Attack, Defect, Outcome, Run
from tests.stress.commands import command, unclean
from tests.stress.world import TASKS, remove, rerun_fault, shared_world

BATCHES = {"the loss": 8, "a gradient": 8, "a weight": 8, "the validation loss": 2}
"""Of a run of two epochs; validation has one an epoch."""


def poison(where: str, number: int, value: float, told: Path) -> Callable[[], None]:
    """Puts `value` into one batch of the run, and writes the places of its questions to `told`."""

    def note(places: list[int]) -> None:
        told.write_text(json.dumps(places))

    def prepare() -> None:
        step = poisoned(where, number, value, note)
        setattr(AVQAModule, step_of(where), step)

    return prepare


def train(run: Run) -> Outcome:
    """Trains, is told, and trains again without the poison."""
    world, random_, failures = shared_world(), random.Random(run.seed), list[str]()
    out, log, told = run.folder / "out", run.folder / "log", run.folder / "told"
    task = TASKS["fit"]
    arguments = task.arguments(world, out)
    questions = {
        split: json.loads((world.data.root / f"{split}.json").read_text(encoding="utf-8")) for split in ("train", "val")
    }
    for number in range(run.amount):
        where = WHERE[number % len(WHERE)]
        value = random_.choice([float("nan"), float("inf"), -float("inf")])
        batch = random_.randrange(BATCHES[where])
        remove(out)
        ended = command(arguments, log, poison(where, batch, value, told))
        fault = unclean(ended, [2])
        # After an epoch's last batch the validation sees a weight first.
        seen = [where, "the validation loss"] if where == "a weight" else [where]
        if not fault and not any(f"{what} is NaN or infinite in epoch" in ended.text for what in seen):
            fault = f"it is not said what: {ended.text[-300:]}"
        records = questions["val" if where == "the validation loss" else "train"]
        ids = {str(records[place]["question_id"]) for place in json.loads(told.read_text())}
        if not fault and where != "a weight" and not all(f"question {id_} about" in ended.text for id_ in ids):
            fault = f"questions {ids} are not named: {ended.text[-400:]}"
        for path in out.glob("*.ckpt"):
            state = torch.load(path, weights_only=True)["state_dict"]
            if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
                fault = fault or f"{path.name} holds it"
        fault = fault or rerun_fault("fit", arguments, out, log)
        if fault:
            failures.append(f"{value} in {where}, batch {batch}: {fault}")
        run.tell(number + 1)
    return Outcome(run.amount, tuple(failures))


ATTACKS = (
    Attack(
        name="nan-loss",
        area="Faults",
        tried="NaN or infinity in the loss, a gradient, a weight or the validation loss of a random batch of `fit`",
        holds="stops before a checkpoint, names the batch's questions and videos; then goes on to the same weights",
        run=train,
        full=40,
        sample=2,
        unit="runs",
        defects=(
            Defect(
                "a loss of NaN or infinity went into every weight, and its checkpoint over the last good one",
                "tests/examples/test_finite.py::test_training_stops_before_a_checkpoint_and_names_the_questions",
                "Training stops at the first NaN or infinity",
            ),
        ),
    ),
)
