"""`save_pretrained` over a model that is there, killed or out of disk at a pseudo-random moment."""

from __future__ import annotations

import os
import random
import resource
import signal
from pathlib import Path

import torch

from gaussian_moe.hub import TemporalMoE
from tests.stress.attack import Attack, Defect, Outcome, Run
from tests.stress.changes import die_at
from tests.stress.world import remove

DIM = 64
CHANGES = 12
"""More changes to files than a saving makes."""
OLD, NEW, NONE = "the old model stayed", "the new one was there", "none, and it said so"


def _model(value: float, top_k: int) -> TemporalMoE:
    model = TemporalMoE(dim=DIM, num_experts=4, top_k=top_k, heads=4)
    for weight in model.parameters():
        torch.nn.init.constant_(weight, value)
    return model


def save(run: Run) -> Outcome:
    """A child saves the new model; the folder must then hold the old or the new one, whole, or say that it holds none.

    It is killed before each of its changes to files in turn, or its disk is full.
    """
    random_, failures, folder = random.Random(run.seed), list[str](), run.folder / "model"
    found = dict.fromkeys((OLD, NEW, NONE), 0)
    for number in range(run.amount):
        # Every second pair saves over a model of other arguments, whose config.json cannot stay.
        models = {OLD: _model(1.0, top_k=4), NEW: _model(2.0, top_k=2 if number // 2 % 2 else 4)}
        remove(folder)
        models[OLD].save_pretrained(folder)
        full = bool(number % 2)
        largest = random_.randrange(1, (folder / "model.safetensors").stat().st_size)
        changes = number // 4 % CHANGES
        pid = os.fork()
        if pid == 0:
            code = 3
            try:
                if full:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
                else:
                    die_at(changes)
                models[NEW].save_pretrained(folder)
                code = 0
            except OSError:
                code = 2
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        kind, fault = _held(folder, models, code, full)
        found[kind] += 1
        if fault:
            failures.append(f"{'disk full' if full else f'killed after {changes} changes'}, {number}: {fault}")
        run.tell(number + 1)
    return Outcome(run.amount, tuple(failures), dict(found))


def _held(folder: Path, models: dict[str, TemporalMoE], code: int, full: bool) -> tuple[str, str | None]:
    """What the folder holds, and what is wrong with that."""
    if code not in ((0, 2) if full else (0, -signal.SIGKILL)):
        return NONE, f"ended with {code}"
    try:
        loaded = TemporalMoE.from_pretrained(folder)
    except FileNotFoundError as error:
        # The new model has other arguments, and its weights had come without them.
        fine = (
            not full and models[OLD].router.top_k != models[NEW].router.top_k and "holds no config.json" in str(error)
        )
        return NONE, None if fine else f"neither the old nor the new model is there: {error}"
    except (OSError, ValueError) as error:
        return NONE, f"neither the old nor the new model is there: {error}"
    state = loaded.state_dict()
    for kind, model in models.items():
        if loaded.router.top_k == model.router.top_k and all(
            map(torch.equal, state.values(), model.state_dict().values())
        ):
            left = [path.name for path in folder.iterdir() if path.name.startswith(".saving-")]
            return kind, f"left {left}" if full and left else None
    return NONE, "a model of parts of both"


ATTACKS = (
    Attack(
        name="saving-for-the-hub",
        area="Faults",
        tried="`save_pretrained` over a saved model, killed before each change to a file in turn, or on a full disk",
        holds="the old model or the new one, whole, or, killed between two of other arguments, an error that names the "
        "file; a full disk is an OSError, and the old one stays",
        run=save,
        full=100,
        sample=6,
        unit="savings",
        defects=(
            Defect(
                "`save_pretrained` on a full disk lost the model that had been there",
                "tests/gaussian_moe/test_hub.py::test_a_full_disk_keeps_what_was_saved",
                "a full disk no longer loses the model that `save_pretrained` was to replace",
            ),
        ),
    ),
)
