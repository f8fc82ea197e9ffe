"""Breaks videos where that reaches new lines of `examples.avqa`.

`python -m tests.stress.video_guided FOLDER RUNS SEED`:
FOLDER/corpus holds videos to begin with. What broke goes to FOLDER/faults.jsonl, how many were tried to FOLDER/tried.
Atheris counts the lines and branches of Python; ffmpeg is compiled, so that its own are not seen. Where atheris is not
installed, the same changes are made without guidance.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

from .box_edits import edit_part, parts
from .byte_edits import BYTE_EDITS

MAX_BYTES = 1 << 17
PEAK_MB = 1024
PATIENCE_S = 10.0
"""How long one input may take, in seconds of one core."""


def mutated(content: bytes, seed: int) -> bytes:
    """A video with one more thing broken."""
    random = Random(seed)
    edit = edit_part if parts(content) and random.random() < 0.7 else random.choice(BYTE_EDITS)
    return edit(content, random)[:MAX_BYTES]


class Target:
    """What the fuzzer calls.

    Args:
        folder: where files go.
    """

    def __init__(self, folder: Path) -> None:
        from .video_judge import judge

        self._judge, self._folder, self.tried = judge, folder, 0

    def __call__(self, content: bytes) -> None:
        """Reads one input and notes what broke."""
        # Many formats are told by their content alone, so that one suffix does for all.
        path = self._folder / "input.mp4"
        path.write_bytes(content)
        self.tried += 1
        (self._folder / "tried").write_text(str(self.tried))
        before = time.process_time()
        fault = self._judge(path).fault
        if fault is None and time.process_time() - before > PATIENCE_S:
            fault = f"took {time.process_time() - before:.1f} s"
        if fault is not None:
            (self._folder / f"fault-{self.tried}.mp4").write_bytes(content)
            with (self._folder / "faults.jsonl").open("a") as file:
                file.write(f"{json.dumps(f'input {self.tried}: {fault}')}\n")


def _guided(folder: Path, runs: int, seed: int) -> None:
    import importlib

    # No types, and not installed everywhere.
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["examples.avqa"]):
        target = Target(folder)
    options = [
        f"-runs={runs}",
        f"-seed={seed}",
        f"-max_len={MAX_BYTES}",
        f"-timeout={12 * PATIENCE_S:g}",
        f"-rss_limit_mb={PEAK_MB}",
    ]
    command = [sys.argv[0], str(folder / "corpus"), f"-artifact_prefix={folder}/", "-print_final_stats=1", *options]
    atheris.Setup(command, target, custom_mutator=lambda content, most, number: mutated(content, number)[:most])
    atheris.Fuzz()


def _unguided(folder: Path, runs: int, seed: int) -> None:
    random, target = Random(seed), Target(folder)
    contents = [path.read_bytes() for path in sorted((folder / "corpus").iterdir())]
    for number in range(runs):
        target(mutated(random.choice(contents), number))


def main(folder: Path, runs: int, seed: int) -> None:
    """Tries `runs` inputs."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    (_guided if find_spec("atheris") else _unguided)(folder, runs, seed)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
