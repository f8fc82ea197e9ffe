"""Commands of the example as processes of their own, started in no time: forked from this one, which has imported them.

Each runs all that `python -m examples.avqa` runs once Python and its imports are there.
"""

from __future__ import annotations

import codecs
import gc
import os
import random
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing import resource_tracker
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from examples.avqa import __main__ as program
from examples.avqa import cli

_POLL_S = 0.001
_LONGEST_S = 1200.0


class Ended(NamedTuple):
    """A process that has ended."""

    code: int
    """Its exit code; of one that a signal killed the negative number of the signal."""
    text: str
    """All that it wrote to standard output and error."""
    cpu_s: float


class Started:
    """A running command.

    Args:
        arguments: of `python -m examples.avqa`.
        log: file for all that it prints.
        prepare: called first within the process, such as to change its limits or its user.
    """

    def __init__(self, arguments: Sequence[str], log: Path, prepare: Callable[[], object] | None = None) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        # It may be killed before it can make the file.
        log.write_text("", encoding="utf-8")
        log.chmod(0o666)
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _live(arguments, log, prepare)

    def begun(self) -> None:
        """Waits until the program has said what signals do in it."""
        status = Path(f"/proc/{self.pid}/status")
        while _runs(self.pid) and not _catches(status.read_text(), signal.SIGTERM):
            time.sleep(_POLL_S)

    def send_after(self, cpu_s: float, number: int, group: bool = False) -> bool:
        """Sends a signal once the process has used so much time of a core; False where it had ended before."""
        return send_after(self.pid, cpu_s, number, group)

    def send(self, number: int) -> None:
        """Sends a signal at once; nothing happens where the process has ended."""
        os.kill(self.pid, number)

    def runs(self) -> bool:
        """Whether it has not ended."""
        return _runs(self.pid)

    def cpu_s(self) -> float:
        """How long it has used a core."""
        return time.clock_gettime(_clock(self.pid)) if self.runs() else 0.0

    def kill_one(
        self, workers: Callable[[int], list[int]], number: int, seconds: float, random_: random.Random
    ) -> bool:
        """Sends a signal to one of the process's workers, `seconds` after its start; False where there was none."""
        time.sleep(seconds)
        try:
            os.kill(random_.choice(workers(self.pid)), number)
        except (OSError, IndexError):
            return False
        return True

    def ended(self, longest_s: float = _LONGEST_S) -> Ended:
        """Waits for the end; after `longest_s` it is killed, which shows in its code."""
        end = time.monotonic() + longest_s
        while _runs(self.pid):
            if time.monotonic() > end:
                os.killpg(self.pid, signal.SIGKILL)
            time.sleep(_POLL_S)
        _, status, usage = os.wait4(self.pid, 0)
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return Ended(os.waitstatus_to_exitcode(status), text, usage.ru_utime + usage.ru_stime)


def send_after(pid: int, cpu_s: float, number: int, group: bool = False) -> bool:
    """Sends a signal once a child has used so much time of a core; False where it had ended before."""
    while _runs(pid):
        if time.clock_gettime(_clock(pid)) >= cpu_s:
            try:
                (os.killpg if group else os.kill)(pid, number)
            except ProcessLookupError:
                # Not yet in a group of its own.
                os.kill(pid, number)
            return True
        time.sleep(_POLL_S)
    return False


def _clock(pid: int) -> int:
    """The kernel's name of another process's clock."""
    return (~pid << 3) | 2


def _runs(pid: int) -> bool:
    # Not waited for: until then the number is no other process's.
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def warm() -> None:
    """Imports every command, so that none of the processes has to."""
    # A thread pool does not survive the fork.
    torch.set_num_threads(1)
    for name in cli.COMMANDS:
        if name != "serve":
            cli.command_parser(name)
    # Python itself may lie where another user cannot read.
    codecs.lookup("utf-8-sig")
    resource_tracker.ensure_running()


def command(arguments: Sequence[str], log: Path, prepare: Callable[[], object] | None = None) -> Ended:
    """Runs one command to its end."""
    return Started(arguments, log, prepare).ended()


def unclean(ended: Ended, codes: Sequence[int] = (0, 2)) -> str | None:
    """How a process ended otherwise than it should: with one of `codes`, and where that is not 0 with one clear line.

    Bars may stand before that line.
    """
    last = re.split(r"[\r\n]+", ended.text.strip())[-1]
    if "Traceback" in ended.text:
        return f"a traceback: {last}"
    if ended.code not in codes:
        return f"code {ended.code}: {last}"
    if ended.code and not re.match(r"(error: \S|stopped)", last):
        return f"no clear line: {last}"
    return None


def _catches(status: str, number: int) -> bool:
    """Whether the kernel says that a process has a handler of its own for a signal."""
    caught = re.search(r"^SigCgt:\s*(\w+)", status, re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)


def _live(arguments: Sequence[str], log: Path, prepare: Callable[[], object] | None) -> None:
    """The forked process; never returns."""
    code = 70
    try:
        os.setsid()
        written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(written, 1)
        os.dup2(written, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115  # as long as the process
        # Processes that it starts import its main module.
        sys.modules["__main__"] = program
        sys.argv = ["python -m examples.avqa", *arguments]
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # All processes would share the lock of their bars, and wait for good for one that was killed with it.
        tqdm.set_lock(threading.RLock())
        gc.freeze()
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
            if number < signal.SIGRTMIN:
                signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if prepare is not None:
            prepare()
        code = program.run()
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else 1
    except BaseException:  # as Python itself ends, traceback and all
        sys.__excepthook__(*sys.exc_info())
        code = 1
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
