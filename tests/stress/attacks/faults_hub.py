"""`save_pretrained` over a model that is there, killed or out of disk at a pseudo-random moment."""

from __future__ import annotations

import os
import random
import resource
import signal
import time
from pathlib import Path

import torch

from gaussian_moe.hub import TemporalMoE
from tests.stress.attack import Attack, Defect, Outcome, Run
from tests.stress.commands import send_after
from tests.stress.world import remove

DIM = 64


def _model(value: float, top_k: int) -> TemporalMoE:
    model = TemporalMoE(dim=DIM, num_experts=4, top_k=top_k, heads=4)
    for weight in model.parameters():
        torch.nn.init.constant_(weight, value)
    return model


def save(run: Run) -> Outcome:
    """A child saves the new model; the folder must then hold the old or the new one, whole."""
    random_, failures, folder = random.Random(run.seed), list[str](), run.folder / "model"
    kept, seconds = 0, 0.0
    models = {value: _model(value, top_k=4) for value in (1.0, 2.0)}
    for number in range(run.amount):
        remove(folder)
        models[1.0].save_pretrained(folder)
        if not seconds:
            began = time.process_time()
            models[2.0].save_pretrained(folder)
            seconds = time.process_time() - began
            models[1.0].save_pretrained(folder)
        full = bool(number % 2)
        largest = random_.randrange(1, (folder / "model.safetensors").stat().st_size)
        pid = os.fork()
        if pid == 0:
            code = 3
            try:
                if full:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
                models[2.0].save_pretrained(folder)
                code = 0
            except OSError:
                code = 2
            finally:
                os._exit(code)
        if not full:
            send_after(pid, random_.uniform(0, seconds), signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        fault = _fault(folder, models, code, full)
        kept += fault is None and _value(folder) == 1.0
        if fault:
            failures.append(f"{'disk full' if full else 'killed'}, {number}: {fault}")
        run.tell(number + 1)
    return Outcome(run.amount, tuple(failures), {"the old model stayed": kept})


def _value(folder: Path) -> float:
    return float(next(iter(TemporalMoE.from_pretrained(folder).parameters())).detach().flatten()[0])


def _fault(folder: Path, models: dict[float, TemporalMoE], code: int, full: bool) -> str | None:
    if code not in ((0, 2) if full else (0, -signal.SIGKILL)):
        return f"ended with {code}"
    try:
        loaded = TemporalMoE.from_pretrained(folder).state_dict()
    except (OSError, ValueError) as error:
        return f"neither the old nor the new model is there: {error}"
    if not any(all(map(torch.equal, loaded.values(), model.state_dict().values())) for model in models.values()):
        return "a model of parts of both"
    if full and code == 2 and (left := [path.name for path in folder.iterdir() if "tmp" in path.name]):
        return f"left {left}"
    return None


ATTACKS = (
    Attack(
        name="saving-for-the-hub",
        area="Faults",
        tried="`save_pretrained` over a saved model, killed or on a full disk at a random moment",
        holds="the folder holds the old model or the new one, whole; a full disk is an OSError and leaves no other",
        run=save,
        full=100,
        sample=6,
        unit="savings",
        defects=(
            Defect(
                "`save_pretrained` on a full disk lost the model that had been there",
                "tests/gaussian_moe/test_hub.py::test_a_full_disk_keeps_what_was_saved",
            ),
        ),
    ),
)
