"""Made-up results of every suite of a device: what tables and charts are drawn from here."""

from __future__ import annotations

import random
from pathlib import Path

from benchmarks.cases import EAGER, SUITES, Experiment, experiments
from benchmarks.measure import Timing
from benchmarks.record import Row, write

PROVENANCE = {
    "device": "Some CPU",
    "kind": "cpu",
    "threads": "2",
    "python": "3.11.7",
    "torch": "2.13.0",
    "triton": "3.9.0",
}


def made_up(experiment: Experiment, implementation: str) -> Row:
    """A row with every number that the experiment measures."""
    case = experiment.case
    chance = random.Random(f"{case} {implementation}")
    weight = 6 * case.E if implementation.startswith("published") else case.K
    seconds = (1e-4 + case.B * case.T * case.D**2 * weight / 3e12) * chance.uniform(0.8, 1.2)
    passes = [name for name in experiment.passes if not (name == "backward" and "graph" in implementation)]
    scale = {"forward": 1.0, "backward": 2.0, "both": 3.0}
    times = {name: Timing(*(scale[name] * seconds * factor for factor in (1.0, 0.95, 1.1))) for name in passes}
    row = Row(experiment.suite, case, implementation, "abc1234", times, output_error=1e-6)
    if implementation in experiment.memory:
        row.memory = 4 * case.B * case.T * case.D * weight
    if experiment.flops and implementation in EAGER:
        row.flops = 2 * case.B * case.T * case.D * weight
    return row


def record(path: Path, device: str = "cpu") -> list[Row]:
    """Writes a file of every suite that the device has; returns its rows."""
    suites = [name for name in SUITES if name != "pool" or device == "cuda"]
    rows = [made_up(each, name) for each in experiments(suites, device) for name in each.implementations]
    name = "Some GPU" if device == "cuda" else PROVENANCE["device"]
    write(path, PROVENANCE | {"device": name, "kind": device, "date": "2024-01-31"}, rows)
    return rows
