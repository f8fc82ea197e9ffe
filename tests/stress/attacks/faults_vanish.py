"""Files that vanish or change while a command reads them."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.stress.attack import Attack, Defect, Outcome, Run
from tests.stress.commands import Started, unclean
from tests.stress.world import World, must, remove, shared_world


def vanish(path: Path, random_: random.Random) -> None:
    """It is gone."""
    path.unlink(missing_ok=True)


def cut(path: Path, random_: random.Random) -> None:
    """It is shortened in place."""
    with path.open("r+b") as file:
        file.truncate(random_.randrange(path.stat().st_size))


def overwrite(path: Path, random_: random.Random) -> None:
    """Other bytes stand in it, of the same number."""
    path.write_bytes(random_.randbytes(path.stat().st_size))


def replace(path: Path, random_: random.Random) -> None:
    """Another whole file of its kind has its name; an array of another shape."""
    if path.suffix == ".npy":
        np.save(path, np.full((3, 7), np.nan, np.float32))
    elif path.suffix == ".json":
        path.write_text("[]", encoding="utf-8")
    else:
        path.write_bytes(b"")


def folder_instead(path: Path, random_: random.Random) -> None:
    """A folder has its name."""
    path.unlink(missing_ok=True)
    path.mkdir()


CHANGES: tuple[Callable[[Path, random.Random], None], ...] = (vanish, cut, overwrite, replace, folder_instead)
# What each command reads: patterns below the world.
READS = {
    "fit": ("data/features/*/*.npy", "data/*.json", "data/features/index/*.json", "data/features/questions/*"),
    "store": ("store/features.bin", "store/store.json"),
    "pack": ("data/features/*/*.npy", "data/features/index/*.json"),
    "extract": ("videos/*.mp4",),
    "check": ("data/features/*/*.npy", "data/*.json"),
    "test": ("run/best.ckpt", "run/settings.json"),
}


def _arguments(name: str, world: World, out: Path) -> list[str]:
    if name == "store":
        return world.fit(out, "--data.features", str(world.root / "store"))
    given = {"fit": world.fit, "pack": world.pack, "extract": world.extract_features, "test": world.test}
    return world.check() if name == "check" else given[name](out)


def change(run: Run) -> Outcome:
    """Each try another command, file, change and moment."""
    world, random_, failures = shared_world(), random.Random(run.seed), list[str]()
    told, bus_errors = 0, 0
    cpu: dict[str, float] = {}
    must(world.pack(run.folder / "store"), run.folder / "log")
    for number in range(run.amount):
        name = list(READS)[number % len(READS)]
        own, out = run.folder / "own", run.folder / "out"
        remove(own)
        remove(out)
        its = world.copied(own)
        must(its.pack(own / "store"), run.folder / "log")
        arguments = _arguments(name, its, out)
        if name not in cpu:
            cpu[name] = must(arguments, run.folder / "log").cpu_s
            remove(out)
        pattern = random_.choice(READS[name])
        path = random_.choice(sorted(own.glob(pattern)))
        changed = random_.choice(CHANGES)
        moment = random_.uniform(0, cpu[name])
        started = Started(arguments, run.folder / "log")
        started.send_after(moment, 0)
        changed(path, random_)
        ended = started.ended()
        told += ended.code == 2
        bus_errors += ended.code == -signal.SIGBUS
        if fault := unclean(ended):
            what = f"{path.relative_to(own)} {changed.__name__} after {moment:.3f} s of computing"
            failures.append(f"{name}, {what}: {fault}")
        run.tell(number + 1)
    return Outcome(run.amount, tuple(failures), {"told as an error": told, "bus errors": bus_errors})


ATTACKS = (
    Attack(
        name="vanishing-files",
        area="Faults",
        tried="a video, feature, annotation, index, store or checkpoint removed, cut, overwritten or replaced while "
        "`fit`, `pack`, `extract`, `check` or `test` runs",
        holds="a result, or one line and exit code 2",
        run=change,
        full=120,
        sample=3,
        unit="changes",
        defects=(
            Defect(
                "a feature file that was shortened while it was read could end the process without a word",
                "tests/examples/test_features.py::test_a_file_that_is_shortened_while_it_is_read_is_told",
                "A feature file that is shortened while it is read is told",
            ),
            Defect(
                "a file of encoded questions that was overwritten while it was read ended `fit` without a word",
                "tests/examples/test_question_store.py::test_a_file_that_is_cut_off_while_it_is_mapped_is_told",
                "a file of encoded questions that is cut off",
            ),
            Defect(
                "a store that was emptied after it was opened ended a command in a traceback",
                "tests/examples/test_store.py::test_data_that_is_emptied_or_removed_before_it_is_read_is_told",
                "a store that is emptied or removed after it was opened",
            ),
        ),
    ),
)
