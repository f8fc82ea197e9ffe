"""Every command in surroundings that it was not made in: folders, users, names, streams, clocks."""

from __future__ import annotations

import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from examples.avqa.features import CHECKED
from tests.stress.attack import Attack, Defect, Outcome, Run
from tests.stress.commands import command, unclean
from tests.stress.world import World, left_over, must, remove, shared_world

NOBODY = 65534
NAMES = ("with space", "ünïcödé 例", "new\nline", "quote'\"$x;`", "x" * 150, "caf\udce9")
"""The last one is no text: it has a byte that is not UTF-8."""

COMMANDS: Mapping[str, Callable[[World, Path], list[str]]] = {
    "fit": lambda world, out: world.fit(out, epochs=1),
    "pack": lambda world, out: world.pack(out),
    "extract": lambda world, out: world.extract_features(out),
    "test": lambda world, out: world.test(out),
    "check": lambda world, out: [*world.check(), "--out", str(out / "check.json")],
    "evaluate": lambda world, out: ["evaluate", str(world.root / "tested"), "--out", str(out)],
    "report": lambda world, out: ["report", str(world.root / "tested"), "--out", str(out)],
    "answer": lambda world, out: [
        *("answer", str(world.videos / "clip 0.mp4"), "How many instruments sound?", "--run", str(world.run)),
        *("--picture", str(out / "answer.png")),
    ],
}


class Surrounding(NamedTuple):
    """What is done before a command."""

    make: Callable[[Path], Path]
    """Given an empty folder: makes what has to be there, and gives the folder that the command is told to write to."""
    prepare: Callable[[], object] = lambda: None
    """Within the process."""
    codes: tuple[int, ...] = (0,)


def _as(user: int) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)


def _new(folder: Path) -> Path:
    return folder / "out"


def _open_to_all(folder: Path) -> Path:
    folder.chmod(0o777)
    return folder / "out"


def _read_only(folder: Path) -> Path:
    (folder / "out").mkdir()
    (folder / "out").chmod(0o555)
    return folder / "out"


def _file(folder: Path) -> Path:
    (folder / "out").write_text("of another program")
    return folder / "out"


def _below_file(folder: Path) -> Path:
    return _file(folder) / "deeper"


def _may_only_read() -> None:
    # What is remembered of them would be written anew.
    (shared_world().data.root / "features" / CHECKED).unlink(missing_ok=True)
    _as(NOBODY)


def _homeless() -> None:
    """No home, no name: as in a container that is run by any number."""
    for name in ("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME"):
        os.environ.pop(name, None)
    _as(12345)


def _read_only_home() -> None:
    os.environ["HOME"] = os.environ["TMPDIR"] = "/proc"


def _pipe_without_reader(stream: int) -> Callable[[], None]:
    def prepare() -> None:
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, stream)
        # Opened anew: one that was made for a file seeks, which a pipe cannot.
        setattr(sys, "stdout" if stream == 1 else "stderr", open(stream, "w", closefd=False))  # noqa: SIM115  # likewise

    return prepare


def _letters(encoding: str) -> Callable[[], None]:
    def prepare() -> None:
        sys.stdout.reconfigure(encoding=encoding, errors="strict")  # type: ignore[union-attr]  # a real file here
        sys.stderr.reconfigure(encoding=encoding, errors="strict")  # type: ignore[union-attr]  # likewise

    return prepare


def _closed() -> None:
    os.close(1)
    sys.stdout = None


def _full_output() -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def _clock_runs_back() -> None:
    began = time.time()
    time.time = lambda: 2 * began - _clock()


_clock = time.time

SURROUNDINGS: Mapping[str, Surrounding] = {
    "its folder may only be read": Surrounding(_read_only, lambda: _as(NOBODY), (2,)),
    "the folder above may only be read": Surrounding(_new, lambda: _as(NOBODY), (2,)),
    "inputs that may only be read": Surrounding(_open_to_all, _may_only_read),
    "a file where the folder is wanted": Surrounding(_file, codes=(2,)),
    "a file above the folder": Surrounding(_below_file, codes=(2,)),
    "no home and an unknown user": Surrounding(_open_to_all, _homeless, (0, 2)),
    "a home and a temporary folder that may only be read": Surrounding(_new, _read_only_home),
    "no standard output": Surrounding(_new, _closed),
    "a reader of standard output that left": Surrounding(_new, _pipe_without_reader(1)),
    "a full disk under standard output": Surrounding(_new, _full_output, (0, 2)),
    "ASCII alone": Surrounding(_new, _letters("ascii")),
    "Latin letters": Surrounding(_new, _letters("latin-1")),
    "a clock that runs backwards": Surrounding(_new, _clock_runs_back),
    "few open files": Surrounding(
        _new,
        lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (24, resource.getrlimit(resource.RLIMIT_NOFILE)[1])),
        (0, 2),
    ),
    **{
        f"a folder called {name[:16]!a}": Surrounding(lambda folder, name=name: folder / name, codes=(0, 2))  # type: ignore[misc]  # a default binds the name
        for name in NAMES
    },
}


def surround(run: Run) -> Outcome:
    """As many of all pairs of command and surrounding."""
    world, failures = shared_world(), list[str]()
    if not (world.root / "tested").exists():
        must(world.test(world.root / "tested"), run.folder / "log")
    pairs = [(name, surrounding) for name in COMMANDS for surrounding in SURROUNDINGS]
    random.Random(run.seed).shuffle(pairs)
    # Not below the run's folder: other users may not enter what is above that one.
    with tempfile.TemporaryDirectory(prefix="stress-surroundings-") as made:
        Path(made).chmod(0o755)
        for number, (name, surrounding) in enumerate(pairs[: run.amount]):
            folder, (make, prepare, codes) = Path(made).resolve() / "in", SURROUNDINGS[surrounding]
            remove(folder)
            folder.mkdir()
            out = make(folder)
            ended = command(COMMANDS[name](world, out), run.folder / "log", prepare)
            fault = unclean(ended, codes)
            if not fault and ended.code == 0 and not any(out.iterdir()):
                fault = "nothing was written"
            if not fault and left_over(folder):
                fault = f"left {left_over(folder)}"
            if fault:
                failures.append(f"{name}, {surrounding}: {fault}")
            run.tell(number + 1)
    return Outcome(min(run.amount, len(pairs)), tuple(failures))


ATTACKS = (
    Attack(
        name="surroundings",
        area="Faults",
        tried="eight commands, each with read-only folders and inputs, files for folders, no home, an unknown user, "
        "closed, full or ASCII output, a clock that runs backwards, few open files, odd names",
        holds="the result, or one line and exit code 2; no temporary file left",
        run=surround,
        full=len(COMMANDS) * len(SURROUNDINGS),
        sample=7,
        unit="pairs",
        defects=(
            Defect(
                "a reader of standard output that left, as `head` does, ended a command before its files were written",
                "tests/examples/test_printing.py::test_who_stops_reading_stops_nothing",
                "`| head`, closed output",
            ),
            Defect(
                "encoded questions, and what `save_pretrained` wrote, could be read by no other user, who was told "
                "that they were cut off",
                "tests/examples/test_question_store.py::test_another_user_may_read_what_is_encoded_or_is_told",
                "Encoded questions and the weights of `save_pretrained` may be read by other users",
            ),
            Defect(
                "a terminal without Unicode ended `answer` in a traceback",
                "tests/examples/test_printing.py::test_letters_that_a_terminal_lacks_are_told_otherwise",
                "terminals without Unicode",
            ),
        ),
    ),
)
