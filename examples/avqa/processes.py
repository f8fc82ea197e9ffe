"""Processes for long work: one a core, stopped between two jobs, a dead one told in one line."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, parent_process, resource_tracker
from typing import Any, TypeVar

from . import signals
from .errors import UserError

T = TypeVar("T")


def cores() -> int:
    """How many cores this process may use: on Linux a container may grant fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each_done(
    work: Callable[..., T],
    jobs: list[tuple[Any, ...]],
    workers: int,
    start: Callable[..., None] | None = None,
    start_arguments: tuple[Any, ...] = (),
    finish: bool = True,
) -> Iterator[tuple[int, T]]:
    """The place and the result of each job, as soon as it is done; the first job that fails ends the others.

    Args:
        work: what to do, given a job's arguments; a function of a module.
        jobs: each job's arguments.
        workers: processes.
        start: called once in each process with `start_arguments`.
        start_arguments: see `start`.
        finish: whether Ctrl-C lets jobs at work finish, which long ones should not.

    Raises:
        UserError: a process died.
    """
    # Before signals are held back: when it starts, it lets them come.
    resource_tracker.ensure_running()
    others = set(active_children())
    # Forked processes would inherit torch's locked thread pool.
    pool = ProcessPoolExecutor(
        min(workers, max(len(jobs), 1)),
        mp_context=get_context("spawn"),
        initializer=_start,
        initargs=(start, start_arguments, finish),
    )
    try:
        # Until a process has said what it does with signals, none may reach it.
        with signals.held_back():
            futures: dict[Future[T], int] = {pool.submit(_job, work, job): place for place, job in enumerate(jobs)}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise UserError(
            f"a worker process died, perhaps for lack of memory; give fewer than {workers} at a time"
        ) from None
    except (KeyboardInterrupt, GeneratorExit):
        if signals.received() not in (None, *([signal.SIGINT] if finish else [])):
            # Whoever asked this process alone means them too.
            for process in set(active_children()) - others:
                process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start(start: Callable[..., None] | None, arguments: tuple[Any, ...], finish: bool) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signals.serve_jobs(ctrl_c=not finish)
    if start is not None:
        start(*arguments)


def _job(work: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    with signals.job():
        return work(*arguments)


def _end_with_parent() -> None:
    """Ends this process when its parent was killed: otherwise it would wait for work for good, and keep its memory."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
