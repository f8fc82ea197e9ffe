"""Acts upon a training run between two of its batches: ends it as Ctrl-C would, or keeps what a kill would leave."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from examples.avqa.data import Batch
from examples.avqa.distributed import processes
from examples.avqa.module import AVQAModule


@contextmanager
def before_batch(number: int, act: Callable[[], None]) -> Iterator[None]:
    """Acts before the training batch of this number, counted over all epochs of the run inside."""
    step, done = AVQAModule.training_step, 0

    def acting(module: AVQAModule, batch: Batch, batch_idx: int) -> Tensor:
        nonlocal done
        if done == number:
            act()
        done += 1
        return step(module, batch, batch_idx)

    AVQAModule.training_step = acting  # type: ignore[method-assign,assignment]  # put back below
    try:
        yield
    finally:
        AVQAModule.training_step = step  # type: ignore[method-assign]
    assert done > number, f"the run ended after {done} batches"


@contextmanager
def stopped_before_batch(number: int) -> Iterator[None]:
    """Ends the run inside."""

    def stop() -> None:
        raise KeyboardInterrupt

    try:
        with before_batch(number, stop):
            yield
    except KeyboardInterrupt:
        return
    raise AssertionError("the run was not stopped")


@contextmanager
def copied_before_batch(number: int, run: Path, copy: Path) -> Iterator[None]:
    """Copies the folder of the run inside, as a kill of all its processes would have left it."""

    def keep() -> None:
        if processes()[0] == 0:
            shutil.copytree(run, copy)

    with before_batch(number, keep):
        yield
