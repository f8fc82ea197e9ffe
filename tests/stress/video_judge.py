"""Reads video files as the commands do, one after another, in a process that may die.

`python -m tests.stress.video_judge` takes paths from its input, one a line, and answers each
with a line of JSON, a `Verdict`. Between two steps of reading it writes a dot, so that whoever asked sees progress.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import av
import numpy as np

from examples.avqa.errors import UserError
from examples.avqa.media import each_frame, probe, read_audio, whole_seconds

T = TypeVar("T")

ADDRESS_SPACE_MB = 6144
"""More is not granted: a file must not make the machine swap. Shared libraries and what is only reserved count, too."""


@dataclass(frozen=True)
class Verdict:
    """How one file was taken."""

    fault: str | None
    """What broke, or None where the result or the error is right."""
    error: str | None
    """The `UserError`, if there was one."""
    peak_mb: int
    """The most memory that the process has held so far."""
    seconds: float


def judge(path: Path) -> Verdict:
    """Reads the header, every frame and the sound."""
    began = time.monotonic()
    error: str | None = None
    fault: str | None = None
    try:
        fault = "; ".join(_wrong(path)) or None
    except UserError as told:
        error = str(told)
        if str(path) not in error:
            fault = f"the error does not name the file: {error}"
        elif "\n" in error:
            fault = f"the error has several lines: {error}"
    # Whatever is raised is what is looked for.
    except Exception as raised:
        where = traceback.extract_tb(raised.__traceback__)[-1]
        fault = f"{type(raised).__name__}: {raised} ({Path(where.filename).name}:{where.lineno})"
    return Verdict(fault, error, peak_mb(), round(time.monotonic() - began, 3))


def peak_mb() -> int:
    """The most memory that this process has held, in units of 2^20 bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # What the process before an exec held, the parent, does not count.
        return (
            int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) // 1024
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _wrong(path: Path) -> Iterator[str]:
    """What is wrong with results; nothing where they are right."""
    info = probe(path)
    _progress()
    if not (0 < info.duration < math.inf and 0 <= info.fps < math.inf and info.width > 0 and info.height > 0):
        yield f"impossible: {info}"
    seconds = whole_seconds(info.duration)
    # As they are in every other file, scaled in the rest.
    size = (16, 16) if len(path.stem) % 2 else None
    count, shapes = 0, set[tuple[int, ...]]()
    for frame in each_frame(path, size=size):
        _progress()
        count += 1
        shapes.add(frame.shape)
        if frame.dtype != np.uint8:
            yield f"frames of {frame.dtype}"
    if count != seconds or len(shapes) != 1 or (size and shapes != {(*size, 3)}):
        yield f"{count} frames of shapes {shapes} for {info}"
    sound = read_audio(path)
    _progress()
    if (sound is None) == info.has_audio:
        yield f"sound {sound is not None} for {info}"
    if sound is not None and (sound.shape != (seconds, 16000) or sound.dtype != np.float32):
        yield f"sound {sound.dtype} {sound.shape} for {info}"
    if sound is not None and not np.isfinite(sound).all():
        yield "sound that is not finite"


_last = 0.0


def _progress() -> None:
    global _last
    if time.monotonic() - _last > 0.5:
        _last = time.monotonic()
        print(".", flush=True)


def main() -> None:
    """Judges until the input ends."""
    limit = ADDRESS_SPACE_MB * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    av.logging.set_level(None)
    for line in sys.stdin:
        print(json.dumps(asdict(judge(Path(line.rstrip("\n"))))), flush=True)


if __name__ == "__main__":
    main()
