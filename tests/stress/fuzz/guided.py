"""A coverage-guided run against one parser, by atheris (extra `dev`, Linux): `python -m tests.stress.fuzz.guided`."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.stress.shell import by_shell

from . import corpus
from .judge import SECONDS, tried
from .parser import Files, Parser

_LONGEST = 1 << 16
"""Bytes of an input that the fuzzer makes."""
_PROCESS = 2048
"""MiB that the process itself may have, with what it imports."""


class Found(NamedTuple):
    """What a run found."""

    executed: int
    faults: list[str]
    slowest: float
    memory: int
    reaching: tuple[Files, ...]
    """Inputs that reached new lines, in the order in which they were found."""


def run(parser: Parser, amount: int, seed: int, folder: Path) -> Found:
    """Lets the fuzzer try so many inputs, in a process of its own: it ends that process.

    Raises:
        RuntimeError: atheris is not installed.
    """
    if importlib.util.find_spec("atheris") is None:
        raise RuntimeError("the coverage-guided part needs atheris: pip install atheris (Linux, Python 3.12 at most)")
    work = folder / "guided"
    (work / "seeds").mkdir(parents=True)
    inputs = [*parser.seeds(), *corpus.kept(parser.name)]
    for files in inputs:
        for number, name in enumerate(parser.changes):
            if len(files.get(name, b"")) < _LONGEST and name in files:
                (work / "seeds" / f"{corpus.digest(files)}-{number}").write_bytes(bytes([number]) + files[name])
    command = [sys.executable, "-m", "tests.stress.fuzz.guided", parser.name]
    done = subprocess.run(
        by_shell([*command, "--runs", str(amount), "--seed", str(seed), "--work", str(work)]),
        cwd=Path(__file__).parents[3],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    notes = work / "notes.json"
    told: dict[str, Any] = (
        json.loads(notes.read_text()) if notes.exists() else {"executed": 0, "slowest": 0.0, "memory": 0, "faults": []}
    )
    faults = list(told["faults"])
    if done.returncode and not faults:
        faults.append(" ".join(done.stderr.split()[-60:]))
    reached = sorted((work / "found").glob("*"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    reaching = tuple(_files(parser, path.read_bytes()) for path in reached)
    return Found(told["executed"], faults, told["slowest"], told["memory"], reaching)


def _files(parser: Parser, data: bytes) -> Files:
    """The folder that the fuzzer's bytes stand for: the first says which file they are."""
    seeds, names = parser.seeds(), list(parser.changes)
    if not data:
        return seeds[0]
    name = names[data[0] % len(names)]
    return dict(next(made for made in seeds if name in made)) | {name: data[1:]}


class Notes:
    """What the run found so far, in a file: the fuzzer ends the process without a word to it."""

    def __init__(self, path: Path, runs: int) -> None:
        self._path, self._runs = path, runs
        self.executed, self.faults = 0, list[str]()
        self.slowest, self.memory = 0.0, 0

    def note(self, seconds: float, memory: int, fault: str) -> None:
        """One input."""
        self.executed += 1
        self.slowest, self.memory = max(self.slowest, seconds), max(self.memory, memory)
        if fault:
            self.faults.append(fault)
        if fault or self.executed % 50 == 0 or self.executed >= self._runs:
            self.write()

    def write(self) -> None:
        """Into the file."""
        told = {name: getattr(self, name) for name in ("executed", "faults", "slowest", "memory")}
        self._path.write_text(json.dumps(told))


def main() -> None:
    """Fuzzes, and does not return."""
    # It ships no types.
    atheris: Any = importlib.import_module("atheris")
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("parser")
    options.add_argument("--runs", type=int, required=True)
    options.add_argument("--seed", type=int, default=713)
    options.add_argument("--work", type=Path, required=True)
    asked = options.parse_args()
    with atheris.instrument_imports(include=_instrumented(asked.parser)):
        from .parsers import load

        parser = load(asked.parser)
        scratch = asked.work / "scratch"
        scratch.mkdir()
        # Once, so that what is imported late is instrumented too.
        tried(parser, parser.seeds()[0], scratch)
    import torch

    torch.set_num_threads(1)
    notes = Notes(asked.work / "notes.json", asked.runs)

    def one(data: bytes) -> None:
        files = _files(parser, data)
        trial = tried(parser, files, scratch)
        fault = f"{_kept(asked.work, parser.name, files)}: {trial.text}" if trial.kind == "fault" else ""
        notes.note(trial.seconds, trial.memory, fault)
        if fault:
            raise AssertionError(fault)

    flags = {
        "runs": asked.runs,
        "seed": asked.seed,
        "timeout": int(SECONDS),
        "rss_limit_mb": _PROCESS + (parser.memory >> 20),
        "max_len": _LONGEST,
        "artifact_prefix": f"{asked.work}/",
        "verbosity": 0,
    }
    (asked.work / "found").mkdir()
    folders = [str(asked.work / "found"), str(asked.work / "seeds")]
    atheris.Setup([sys.argv[0], *(f"-{name}={value}" for name, value in flags.items()), *folders], one)
    atheris.Fuzz()


def _instrumented(name: str) -> list[str]:
    from .parsers import INSTRUMENTED

    return list(INSTRUMENTED[name])


def _kept(work: Path, parser: str, files: Files) -> str:
    return corpus.keep(work / "faults", parser, files).stem


if __name__ == "__main__":
    main()
