"""Signals that ask a process to end, at pseudo-random moments of every command that takes long."""

from __future__ import annotations

import random
import signal

from tests.stress.attack import Attack, Defect, Outcome, Run
from tests.stress.commands import Started, unclean
from tests.stress.world import TASKS, aftermath, remove, shared_world, uninterrupted

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


def _as_from_a_terminal() -> None:
    """Also where this runs under nohup or behind a shell's &, which ignore some of the signals."""
    for number in NUMBERS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def stop(run: Run) -> Outcome:
    """Each try another command, signal and moment; by turns to the process alone or to its group."""
    world, random_, failures = shared_world(), random.Random(run.seed), list[str]()
    log, stopped = run.folder / "log", 0
    for number in range(run.amount):
        name, asked = list(TASKS)[number % len(TASKS)], NUMBERS[number // len(TASKS) % len(NUMBERS)]
        task, out = TASKS[name], run.folder / name
        arguments = task.arguments(world, out)
        whole = uninterrupted(name)
        remove(out)
        moment, group = random_.uniform(0, whole.cpu_s), bool(number % 2)
        started = Started(arguments, log, _as_from_a_terminal)
        # Before it has said what signals do, Python has not begun the program.
        started.begun()
        started.send_after(moment, asked, group)
        ended = started.ended()
        stopped += ended.code == 128 + asked
        fault = unclean(ended, [128 + asked, 0])
        if not fault and ended.code and asked != signal.SIGINT and f"by {asked.name}" not in ended.text:
            fault = f"the signal is not named: {ended.text[-100:]}"
        fault = fault or aftermath(name, arguments, out, log)
        if fault:
            failures.append(f"{name}, {asked.name} after {moment:.3f} s of computing, {group=}: {fault}")
        run.tell(number + 1)
    return Outcome(run.amount, tuple(failures), {"stopped before their end": stopped})


ATTACKS = (
    Attack(
        name="signals",
        area="Faults",
        tried="SIGTERM, SIGINT, SIGUSR1 or SIGHUP to `fit`, `pack`, `extract` or `concert` at a random moment",
        holds="one line, exit code 128 + signal, no temporary file or lock left; the rerun equals an uninterrupted run",
        run=stop,
        full=64,
        sample=3,
        unit="signals",
        defects=(
            Defect(
                "SIGTERM, SIGHUP and SIGUSR1 ended commands without a word, and left temporary files",
                "tests/examples/test_signals.py::test_a_signal_is_told_and_nothing_is_left",
                "SIGTERM, SIGHUP and SIGUSR1 stop a command as Ctrl-C does",
            ),
        ),
    ),
)
