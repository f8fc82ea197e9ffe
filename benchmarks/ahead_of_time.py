"""Compiles every kernel that the modules name, side by side in processes of their own, and reads the machine code."""

from __future__ import annotations

import contextlib
import importlib
import io
import multiprocessing
import os
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from .kernel_sample import sample
from .machine_code import MachineCode, machine_code

if TYPE_CHECKING:
    from gaussian_moe.kernels.compilation import Compilation

LISTS = ("gaussian_moe.kernels.gaussian_weights.launch", "gaussian_moe.kernels.expert_pool.compilations")
"""The modules that list what is compiled."""


@dataclass(frozen=True)
class Failure:
    """A kernel that does not compile, and the compiler's reason."""

    name: str
    target: str
    reason: str


def examine(targets: list[str], only: str, jobs: int, sampled: bool = False) -> list[MachineCode | Failure]:
    """Compiles what the modules name for the targets, in processes of its own, and tells progress on stderr.

    Args:
        targets: such as sm_90.
        only: kernels whose name holds this text.
        jobs: processes.
        sampled: leave out what `sample` does.
    """
    context = multiprocessing.get_context("spawn")
    with _no_interpreter(), ProcessPoolExecutor(jobs, context) as pool:
        listed = [(module, target, pool.submit(_names, module, target)) for target in targets for module in LISTS]
        work = {}
        for module, target, listing in listed:
            names = listing.result()
            chosen = sample(names) if sampled else set(names)
            for place, name in enumerate(names):
                if only in name and name in chosen:
                    work[pool.submit(_examine, module, target, place)] = name, target
        for done, _ in enumerate(as_completed(work), start=1):
            _progress(done, len(work))
    return [_result(task, name, target) for task, (name, target) in work.items()]


def _result(task: Future[MachineCode | Failure], name: str, target: str) -> MachineCode | Failure:
    try:
        return task.result()
    except BrokenProcessPool:
        return Failure(name, target, "the compiler's process died, here or at another kernel; --only and --jobs 1 tell")


@contextlib.contextmanager
def _no_interpreter() -> Iterator[None]:
    # A process reads the variable while it imports Triton, which happens before any of our code runs in it.
    interpreted = os.environ.pop("TRITON_INTERPRET", None)
    try:
        yield
    finally:
        if interpreted is not None:
            os.environ["TRITON_INTERPRET"] = interpreted


@lru_cache
def _compilations(module: str, target: str) -> list[Compilation]:
    found: list[Compilation] = importlib.import_module(module).compilations(target)
    return found


def _names(module: str, target: str) -> list[str]:
    return [compilation.name for compilation in _compilations(module, target)]


def _examine(module: str, target: str, place: int) -> MachineCode | Failure:
    compilation = _compilations(module, target)[place]
    # Triton prints the whole program where its assembler fails.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # Triton 3.9 tells of a default that 3.10 changes; the modules run with the same default.
        warnings.filterwarnings("ignore", "TRITON_DEFAULT_FP_FUSION")
        try:
            return machine_code(compilation, target)
        except Exception as error:  # whatever the compiler raises is the answer for this kernel
            where, *_ = [*str(error).strip().splitlines(), ""]
            # Triton's front end says where, then shows the source, then says what.
            what = getattr(error, "error_message", None) or ""
            return Failure(compilation.name, target, f"{type(error).__name__}: {where} {what}".strip())


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\rcompiled {done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)
    elif done == total:
        print(f"compiled {total}", file=sys.stderr)
