"""Times QA-TIGER's training step against the published computation: `python -m examples.avqa.measure.training_step`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch

from ..errors import UserError
from ..files import write_json
from ..provenance import provenance
from . import tables
from .agreement import Errors, bound, errors, exact, fault
from .parts import shares
from .step import Implementation, Precision, Sizes, TrainingStep, initial_state, synthetic_batch
from .timing import interleaved, peak_bytes


@dataclass(frozen=True)
class Settings:
    """What is measured, and how."""

    device: str = "cpu"
    precision: Precision = "float32"
    compiled: bool = False
    """Ours under `torch.compile` too."""
    rounds: int = 9
    profile: bool = False
    sizes: Sizes = field(default_factory=Sizes)

    def contestants(self) -> list[tuple[Implementation, Precision, bool]]:
        """Implementation, precision and whether it is compiled; published float32 is always among them."""
        found: list[tuple[Implementation, Precision, bool]] = [
            ("published", self.precision, False),
            ("ours", self.precision, False),
        ]
        if self.compiled:
            found.append(("ours", self.precision, True))
        if self.precision != "float32":
            found += [("published", "float32", False), ("ours", "float32", False)]
        return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the tables and writes the record; a fault the user can mend is one line and exit code 2."""
    try:
        settings, out = _parsed(arguments)
        record = measured(settings)
        if out is not None:
            write_json(out, record)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(tables.training_step(record))
    if settings.profile:
        print(tables.parts(record))
    return 1 if any(row["fault"] for row in record["rows"]) else 0


def measured(settings: Settings) -> dict[str, Any]:
    """The record: provenance, settings, bounds, one row an implementation, and the profile where it was asked for.

    Whoever disagrees with the published computation in float64 gets no number, and no profile.
    """
    sizes, device = settings.sizes, settings.device
    state, batch = initial_state(sizes), synthetic_batch(sizes, device)
    steps = [TrainingStep(*contestant, sizes, state, batch) for contestant in settings.contestants()]
    wanted = exact(sizes, state, batch)
    found = [errors(step, wanted) for step in steps]
    published = {
        step.precision: each for step, each in zip(steps, found, strict=True) if step.implementation == "published"
    }
    bounds = {precision: bound(precision, each) for precision, each in published.items()}
    faults = [fault(each, bounds[step.precision]) for step, each in zip(steps, found, strict=True)]
    rows = [_row(step, each, reason) for step, each, reason in zip(steps, found, faults, strict=True)]
    good = [(step, row) for step, row in zip(steps, rows, strict=True) if row["fault"] is None]
    times = interleaved([step for step, _ in good], settings.rounds, device)
    for (step, row), timing in zip(good, times, strict=True):
        row["seconds"] = [_short(seconds) for seconds in (timing.median, timing.low, timing.high)]
        if device == "cuda":
            row["peak_bytes"] = peak_bytes(step)
    ours = [step for step, _ in good if step.implementation == "ours" and not step.compiled][:1]
    profiled = shares(ours[0], ours[0].model, device) if settings.profile and ours else []
    return {
        "provenance": provenance(device),
        "settings": {
            "device": device,
            "threads": torch.get_num_threads(),
            "rounds": settings.rounds,
            "sizes": asdict(sizes),
            "features": "synthetic, normally distributed, in memory",
        },
        "bounds": {precision: _short(limit) for precision, limit in bounds.items()},
        "rows": rows,
        "profile": [
            {
                "part": share.part,
                "pass": share.which,
                "seconds": _short(share.seconds),
                "operators": [[name, _short(spent), calls] for name, spent, calls in share.operators],
            }
            for share in profiled
        ],
    }


def _row(step: TrainingStep, found: Errors, reason: str | None) -> dict[str, Any]:
    return {
        "implementation": step.implementation,
        "precision": step.precision,
        "compiled": step.compiled,
        "seconds": None,
        "peak_bytes": None,
        "loss_error": _short(found.loss),
        "gradient_error": _short(found.gradient),
        "worst": found.worst,
        "fault": reason,
    }


def _short(number: float) -> float:
    return float(f"{number:.4g}")


def _parsed(arguments: Sequence[str] | None) -> tuple[Settings, Path | None]:
    parser = argparse.ArgumentParser(
        prog="python -m examples.avqa.measure.training_step",
        description="Times a whole training step of QA-TIGER at the published sizes, this repository's and the "
        "published computation's, in turns, after checking both against float64. Features are synthetic.",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="by default cuda where there is one")
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        help="bfloat16 means autocast, and the float32 steps beside it; by default that on cuda, float32 on cpu",
    )
    parser.add_argument("--batch", type=int, default=Sizes.B, help="clips (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=Settings.rounds, help="samples of each (default: %(default)s)")
    parser.add_argument("--compiled", action="store_true", help="time this repository's under torch.compile too")
    parser.add_argument("--profile", action="store_true", help="say where the time goes, by part of the model")
    parser.add_argument("--out", type=Path, help="JSON file for the record")
    given = parser.parse_args(arguments)
    if given.batch < 1:
        raise UserError(f"--batch must be at least 1, got {given.batch}")
    if given.rounds < 2:
        raise UserError(f"--rounds must be at least 2, got {given.rounds}")
    device = given.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: PyTorch sees no CUDA device; use --device cpu")
    if given.out is not None and given.out.is_dir():
        raise UserError(f"--out {given.out} is a folder; name a file")
    precision: Precision = given.precision or ("bfloat16" if device == "cuda" else "float32")
    settings = Settings(device, precision, given.compiled, given.rounds, given.profile, Sizes(B=given.batch))
    return settings, given.out


if __name__ == "__main__":
    sys.exit(main())
