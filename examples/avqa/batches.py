"""Batches that are one whole over all processes, and that can begin in the middle of an epoch."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from .data import AVQADataset, Batch, ClipSampler, Item
from .distributed import processes
from .errors import UserError, told

T = TypeVar("T")


class GlobalBatches(Sampler[list[list[int]]]):
    """This process's share of every global batch.

    A global batch is the next `batch_size` items of the sampler, whatever the number W of processes; process r takes
    its items r, r + W, ... No item is left out or taken twice. Where the last batch has fewer items than there are
    processes, those without one get an item about which nothing is asked, so that all do the same number of steps.

    Args:
        sampler: gives items; Lightning tells it the epoch.
        batch_size: items in a global batch.
        alone: this process takes everything, whoever else is there.
    """

    def __init__(self, sampler: ClipSampler, batch_size: int, alone: bool = False) -> None:
        self.sampler, self.batch_size, self.alone = sampler, batch_size, alone
        self.begin_at: tuple[int, int] = (0, 0)
        """An epoch, and how many of its global batches are done: they are left out."""

    def __len__(self) -> int:
        """Global batches in an epoch, those that are done among them."""
        return math.ceil(len(self.sampler) / self.batch_size)

    def __iter__(self) -> Iterator[list[list[int]]]:
        items = list(self.sampler)
        rank, count = (0, 1) if self.alone else processes()
        epoch, done = self.begin_at
        first = done if epoch == self.sampler.epoch else 0
        for start in range(first * self.batch_size, len(items), self.batch_size):
            yield items[start : start + self.batch_size][rank::count] or [[]]


class PatientLoader(DataLoader[Item]):
    """Loads `GlobalBatches`; begins only when the first batch is wanted.

    Lightning asks for an iterator before it tells the epoch, and before a checkpoint says where in it to begin.

    Args:
        dataset: gives items.
        batches: which items make a batch.
        collate: makes a batch of items.
        seed: of the loader's own numbers.
        options: of `DataLoader`: workers, pinned memory.
    """

    def __init__(
        self,
        dataset: AVQADataset,
        batches: GlobalBatches,
        collate: Callable[[list[Item]], Batch],
        seed: int,
        **options: Any,
    ) -> None:
        # A loader draws a number whenever it starts: from the global generator, that would change the dropout.
        own = torch.Generator().manual_seed(seed)
        super().__init__(
            _Telling(dataset),
            batch_sampler=batches,
            collate_fn=_TellingCollate(collate),
            generator=own,
            worker_init_fn=_begin_worker,
            **options,
        )
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # the base class returns its own kind of iterator
        for batch in super().__iter__():
            if isinstance(batch, UserError):
                raise batch
            yield batch


def _begin_worker(_: int) -> None:
    sys.excepthook = _unless_cut_off


def _unless_cut_off(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A connection that the other process cut off, as it stopped, is told by that one: here it would be a traceback."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


class _Telling(Dataset[Any]):
    """Gives the user's errors in place of items: torch would send them with the traceback of the process they are in.

    Args:
        dataset: gives items.
    """

    def __init__(self, dataset: Dataset[Item]) -> None:
        self._dataset = dataset

    def __getitem__(self, index: Any) -> Item | UserError:
        return _or_error(self._dataset.__getitem__, index)


class _TellingCollate:
    """Gives the first error among items in place of a batch."""

    def __init__(self, collate: Callable[[list[Item]], Batch]) -> None:
        self._collate = collate

    def __call__(self, items: list[Item | UserError]) -> Batch | UserError:
        for item in items:
            if isinstance(item, UserError):
                return item
        return _or_error(self._collate, items)


def _or_error(make: Callable[[Any], T], argument: Any) -> T | UserError:
    try:
        return make(argument)
    except Exception as error:  # what is not the user's is raised again
        line = told(error)
        if line is None:
            raise
        return UserError(line)
