"""Files of weights, checkpoints and arrays that would run a program if anything unpickled them."""

from __future__ import annotations

import io
import itertools
import os
import pickle
import random
import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from examples.avqa.encoders.base import MODALITIES
from examples.avqa.encoders.clip import ClipWords
from examples.avqa.encoders.state_file import read_state
from examples.avqa.errors import UserError
from examples.avqa.features import FeatureFolder
from examples.avqa.fit import load_model
from examples.avqa.released import read_released
from examples.avqa.training import _steps_done
from examples.dropins import concerts
from tests.examples.tiny_weights import write_clip
from tests.stress.attack import Attack, Defect, Outcome, Run

_CANARY = "CANARY_OF_PICKLES"


class Payload:
    """Unpickled, it calls a function."""

    def __init__(self, function: Any, arguments: tuple[Any, ...]) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        """What an unpickler is told to do."""
        return self._call


class _State(Payload):
    """The same, when its state is set."""

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (), None, None, iter([("a", Payload(*self._call))])


def _payloads(canary: Path) -> list[Any]:
    code = f"open({str(canary)!r}, 'w').close()"
    runs: tuple[tuple[Any, tuple[Any, ...]], ...] = (
        (os.system, (f"touch '{canary}'",)),
        (exec, (code,)),
        (eval, (code,)),
        (os.mkdir, (str(canary),)),
        (open, (str(canary), "w")),
        (__import__("subprocess").Popen, (["touch", str(canary)],)),
        (shutil.copy, ("/etc/hostname", str(canary))),
        (getattr, (__import__("pathlib").Path(canary), "touch")),
        (torch.save, ({}, str(canary))),
        (np.save, (str(canary), 0)),
        (torch.load, (str(canary),)),
        (__import__("runpy").run_path, (str(canary),)),
    )
    return [kind(*call) for call in runs for kind in (Payload, _State)]


class _File(NamedTuple):
    """One file, by how it is written."""

    name: str
    data: bytes


def _files(canary: Path, rng: random.Random) -> Iterator[_File]:
    """Every payload in every form, again and again with other places and protocols."""
    tensor = torch.zeros(2)
    while True:
        for payload in _payloads(canary):
            protocol = rng.randrange(2, 6)
            holders = (
                payload,
                {"head.weight": payload},
                {"head.weight": tensor, "other": payload},
                {"state_dict": {"head.weight": tensor, "x": payload}},
                {"state_dict": {"head.weight": tensor}, "hyper_parameters": payload, "global_step": payload},
                [payload],
                {payload.__class__.__name__: [(payload, tensor)]},
            )
            held = rng.choice(holders)
            stream = io.BytesIO()
            torch.save(held, stream, pickle_protocol=protocol)
            yield _File("zip", stream.getvalue())
            stream = io.BytesIO()
            torch.save(held, stream, _use_new_zipfile_serialization=False, pickle_protocol=protocol)
            yield _File("legacy", stream.getvalue())
            yield _File("plain pickle", pickle.dumps(held, protocol))
            stream = io.BytesIO()
            array = np.empty(2, dtype=object)
            array[:] = [payload, 0]
            np.save(stream, array, allow_pickle=True)
            yield _File("npy", stream.getvalue())
            stream = io.BytesIO()
            np.savez(stream, allow_pickle=True, a=array)
            yield _File("npz", stream.getvalue())
            stream = io.BytesIO()
            with zipfile.ZipFile(stream, "w") as archive:
                archive.writestr("../canary/data.pkl", pickle.dumps(held, protocol))
                archive.writestr("archive/data.pkl", pickle.dumps(held, protocol))
                archive.writestr("archive/version", "3")
            yield _File("zip by hand", stream.getvalue())


def _read_features(folder: Path) -> None:
    source = FeatureFolder(folder, {modality: str(modality) for modality in MODALITIES})
    source.headers("clip")
    source.load("clip")


def _read_concerts(folder: Path) -> None:
    concerts._features(folder / "concerts_train.npy", [], None)


def _read_steps(folder: Path) -> None:
    try:
        _steps_done(folder / "last.ckpt")
    # Only ever called for a checkpoint that `load_model` has read.
    except (pickle.UnpicklingError, RuntimeError, KeyError, TypeError, EOFError, ValueError) as error:
        raise UserError(str(error)) from error


_READERS: dict[str, tuple[list[str], Callable[[Path], object]]] = {
    "released weights": (["weights.pt"], lambda folder: read_released(folder / "weights.pt")),
    "released safetensors": (["weights.safetensors"], lambda folder: read_released(folder / "weights.safetensors")),
    "a state": (["state.pth"], lambda folder: read_state(folder / "state.pth")),
    "a state in safetensors": (["state.safetensors"], lambda folder: read_state(folder / "state.safetensors")),
    "a run": (["best.ckpt"], load_model),
    "a run to go on with": (["last.ckpt"], lambda folder: load_model(folder, "last")),
    "its steps": (["last.ckpt"], _read_steps),
    "features": ([f"{modality}/clip.npy" for modality in MODALITIES], _read_features),
    "rendered features": (["concerts_train.npy"], _read_concerts),
    "CLIP": (["pytorch_model.bin"], lambda folder: ClipWords(folder, torch.device("cpu"))),
}
"""By what they read: the files' names, and what reads them."""


def pickles(run: Run) -> Outcome:
    """Writes each file under each name that is read, and reads it."""
    canary, clip = run.folder / _CANARY, run.folder / "clip"
    write_clip(clip, 8)
    for own in (*clip.glob("*.safetensors"), *clip.glob("*.bin")):
        own.unlink()
    failures: list[str] = []
    files = _files(canary, random.Random(run.seed))
    readers = list(_READERS.items())
    for number, file in enumerate(itertools.islice(files, run.amount), start=1):
        # Each of the six forms meets each reader.
        name, (names, read) = readers[(number - 1) // 6 % len(readers)]
        folder = run.folder / "read"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(clip, folder) if name == "CLIP" else folder.mkdir()
        for path in names:
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(file.data)
        what = f"{file.name} as {name}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(folder)
            failures.append(f"{what}: it was taken")
        except UserError:
            pass
        except Exception as error:  # whatever is raised is what is looked for
            failures.append(f"{what}: {type(error).__name__}: {error}"[:200])
        if canary.exists():
            failures.append(f"{what}: what it holds was run")
            shutil.rmtree(canary) if canary.is_dir() else canary.unlink()
        run.tell(number)
    return Outcome(run.amount, tuple(failures), {"ways to read a file": len(_READERS)})


ATTACKS = (
    Attack(
        name="pickles",
        area="Security",
        tried="weights, checkpoints and arrays that call a function when they are unpickled, in 6 forms, 24 payloads",
        holds="nothing that a file holds is run; an error names the file",
        run=pickles,
        full=1440,
        sample=60,
        unit="files",
        defects=(
            Defect(
                "a cache of rendered features that was an archive ended in a traceback",
                "tests/examples/test_dropins_command.py::test_a_cache_that_is_none_is_named",
                "A cache of rendered features that is an archive",
            ),
        ),
    ),
)
