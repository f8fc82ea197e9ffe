"""Signals that ask a process to end: they stop a command as Ctrl-C does, and what is half-written is removed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from .errors import is_dead_worker

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
ASKING = tuple(signal.Signals[name] for name in _NAMES if name in signal.Signals.__members__)
"""Ctrl-C; what clusters send before they kill; a terminal that was closed. Not every system has them all."""
_ANEW_S = 0.05
_TWICE_S = 1.0


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end."""


_received: list[int] = []
_since = 0.0


def received() -> signal.Signals | None:
    """The signal that asked the command to end, or None."""
    return signal.Signals(_received[0]) if _received else None


def exit_at_once() -> None:
    """Until a command has begun there is nothing to clean up: a signal ends the process with one line."""
    for number in ASKING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _at_once)


@contextmanager
def stoppable() -> Iterator[None]:
    """Within it the first signal raises `Stopped`; what was ignored when the process began stays so (nohup).

    Others that follow are ignored, as schedulers send one twice, until what was begun is cleaned up; Ctrl-C a second
    time, more than a second later, ends the process at once.
    """
    _received.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ASKING}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    hook = sys.unraisablehook
    try:
        sys.unraisablehook = _unraised
        for number in before:
            signal.signal(number, _stop)
        yield
    finally:
        for number, handler in before.items():
            # What the process is to say is settled: no signal may come between.
            signal.signal(number, signal.SIG_IGN if handler is _at_once or handler is None else handler)
        sys.unraisablehook = hook


@contextmanager
def held_back() -> Iterator[None]:
    """Signals wait meanwhile; in processes that are started meanwhile until `serve_jobs`.

    Where other threads run, one of them may take a signal for this process.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ASKING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve_jobs(ctrl_c: bool) -> None:
    """What a process does that works for another: only within `job` there is something to clean up.

    Args:
        ctrl_c: whether Ctrl-C ends a job. It reaches every process, and the parent stops between two jobs.
    """
    asking = [number for number in ASKING if signal.getsignal(number) is not signal.SIG_IGN]
    if signal.SIGINT in asking and not ctrl_c:
        asking.remove(signal.SIGINT)
    for number in ASKING:
        signal.signal(number, _end if number in asking and number != signal.SIGINT else signal.SIG_IGN)
    _received.clear()
    _ending_jobs[:] = asking
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKING)


@contextmanager
def job() -> Iterator[None]:
    """A signal within it ends this process, once what was begun is cleaned up."""
    before = {number: signal.getsignal(number) for number in _ending_jobs}
    try:
        for number in before:
            signal.signal(number, _stop)
        yield
    except BaseException:
        # Whatever became of `Stopped` on its way.
        if _received:
            os._exit(128 + _received[0])
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_ending_jobs: list[signal.Signals] = []


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


def _at_once(number: int, frame: FrameType | None) -> None:
    os.write(2, f"stopped by {signal.Signals(number).name}\n".encode())
    os._exit(128 + number)


def _stop(number: int, frame: FrameType | None) -> None:
    global _since
    if _received:
        if number == signal.SIGINT and time.monotonic() - _since > _TWICE_S:
            _at_once(number, frame)
        return
    _received.append(number)
    _since = time.monotonic()
    raise Stopped


def _unraised(unraisable: sys.UnraisableHookArgs) -> None:
    """Python drops what is raised in a destructor, and says so: raised anew a moment later, elsewhere.

    That a process which reads batches died is told again when the next batch is asked for.
    """
    if is_dead_worker(unraisable.exc_value):
        return
    if not issubclass(unraisable.exc_type, Stopped):
        sys.__unraisablehook__(unraisable)
    elif hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _anew)
        signal.setitimer(signal.ITIMER_REAL, _ANEW_S)


def _anew(number: int, frame: FrameType | None) -> None:
    raise Stopped
