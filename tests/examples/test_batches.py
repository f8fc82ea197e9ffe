"""Global batches: every item once over all processes, the same for any number of them, from any place in the epoch."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.avqa import batches
from examples.avqa.annotations import Question
from examples.avqa.batches import GlobalBatches, PatientLoader
from examples.avqa.data import NO_ANSWER, AVQADataset, ClipSampler, Item
from examples.avqa.errors import UserError, told
from examples.avqa.module import mean_loss
from examples.avqa.question_mean import QuestionMean


def _questions(count: int) -> list[Question]:
    return [Question(str(n % 5), str(n), "Audio", "Counting", "a", "", "yes", "") for n in range(count)]


def _sampler(count: int) -> ClipSampler:
    return ClipSampler(_questions(count), 2, shuffle=True, seed=3)


def _shares(count: int, batch_size: int, world: int, begin_at: tuple[int, int] = (0, 0)) -> list[list[list[list[int]]]]:
    """By process, its batches."""
    shares = []
    with pytest.MonkeyPatch.context() as patch:
        for rank in range(world):
            patch.setattr(batches, "processes", lambda rank=rank: (rank, world))
            whole = GlobalBatches(_sampler(count), batch_size)
            whole.begin_at = begin_at
            shares.append(list(whole))
    return shares


def test_alone_it_takes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "processes", lambda: (1, 2))
    sampler = _sampler(11)
    whole = list(sampler)
    assert [item for batch in GlobalBatches(sampler, 3, alone=True) for item in batch] == whole


@given(count=st.integers(1, 40), batch_size=st.integers(1, 9), world=st.integers(1, 4))
@settings(deadline=None)
def test_processes_share_the_global_batches(count: int, batch_size: int, world: int) -> None:
    (alone,) = _shares(count, batch_size, 1)
    shares = _shares(count, batch_size, world)
    assert {len(share) for share in shares} == {len(alone)} == {len(GlobalBatches(_sampler(count), batch_size))}
    for number, batch in enumerate(alone):
        parts = [share[number] for share in shares]
        assert all(parts)
        assert sorted(item for part in parts for item in part if item) == sorted(batch)
        # A process gets an item without questions only where no other item is left for it.
        assert sum(item == [] for part in parts for item in part) == max(world - len(batch), 0)


def test_an_epoch_begins_where_it_was_left_and_the_next_at_its_start() -> None:
    (whole,) = _shares(20, 3, 1)
    assert _shares(20, 3, 1, begin_at=(0, 2))[0] == whole[2:]
    assert _shares(20, 3, 1, begin_at=(1, 2))[0] == whole
    left = GlobalBatches(_sampler(20), 3)
    left.begin_at = (0, 2)
    assert len(left) == len(whole)
    left.sampler.set_epoch(1)
    assert len(list(left)) == len(whole)
    assert list(left) != whole


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_heeds_what_it_is_told_after_its_iterator_was_made(workers: int) -> None:
    sampler = _sampler(20)
    whole = GlobalBatches(sampler, 3)
    loader = PatientLoader(AVQADataset(_questions(20), None), whole, _numbers, seed=0, num_workers=workers)
    iterator = iter(loader)
    sampler.set_epoch(1)
    whole.begin_at = (1, 2)
    assert list(iterator) == list(whole)
    assert len(list(loader)) == len(loader) - 2


def _numbers(items: list[Item]) -> Any:
    return [item.numbers for item in items]


def test_where_nothing_is_asked_the_loss_and_its_gradient_are_zero() -> None:
    logits = torch.randn(2, 1, 3, requires_grad=True)
    loss, asked = mean_loss(logits, torch.full((2, 1), NO_ANSWER), 0.1)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (loss.item(), asked.item()) == (0.0, 0)
    assert torch.equal(gradient, torch.zeros(2, 1, 3))


@pytest.mark.parametrize("parts", [[(1.0, 3), (5.0, 1)], [(float("nan"), 1), (1.0, 1)]])
def test_a_mean_over_questions_weighs_them_alike_and_keeps_nan(parts: Sequence[tuple[float, int]]) -> None:
    mean = QuestionMean()
    for value, count in parts:
        mean.update(torch.tensor(value), torch.tensor(count))
    wanted = sum(value * count for value, count in parts) / sum(count for _, count in parts)
    assert float(mean.compute()) == pytest.approx(wanted, nan_ok=True)


class _Dies(AVQADataset):
    """Ends the process that reads."""

    def __getitem__(self, numbers: Sequence[int]) -> Item:
        os._exit(1)


class _Lacks(AVQADataset):
    """Misses what it reads."""

    def __getitem__(self, numbers: Sequence[int]) -> Item:
        raise UserError("a.npy: missing; extract the video again")


def _loaded(dataset: AVQADataset, workers: int) -> list[Any]:
    batches = GlobalBatches(_sampler(7), 2)
    return list(PatientLoader(dataset, batches, lambda items: items, seed=0, num_workers=workers))  # type: ignore[arg-type,return-value]  # no batch is reached


def test_a_dead_worker_is_told_in_one_line() -> None:
    with pytest.raises(RuntimeError) as died:
        _loaded(_Dies(_questions(7), None), 1)
    line = told(died.value)
    assert line is not None
    assert line.startswith("a process that reads batches died")
    assert "data.workers" in line


def test_a_worker_whose_connection_is_cut_off_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Python's threads for connections tell what they meet by the hook; the process that stopped says why."""
    before = sys.excepthook
    try:
        batches._begin_worker(0)
        for error in (ConnectionResetError("reset by peer"), EOFError(), ValueError("told")):
            sys.excepthook(type(error), error, None)
    finally:
        sys.excepthook = before
    assert capsys.readouterr().err == "ValueError: told\n"


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_worker_cannot_read_is_told_as_it_is(workers: int) -> None:
    with pytest.raises(UserError) as lacking:
        _loaded(_Lacks(_questions(7), None), workers)
    assert str(lacking.value) == "a.npy: missing; extract the video again"
