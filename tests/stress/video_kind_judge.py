"""Reads one video of `video_kinds.KINDS` in a process of its own and compares it with its right result.

`python -m tests.stress.video_kind_judge NAME PATH` prints a line of JSON, a `Verdict`.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from examples.avqa.errors import UserError
from examples.avqa.media import each_frame, probe, read_audio, whole_seconds

from .video_judge import ADDRESS_SPACE_MB, Verdict, peak_mb
from .video_kinds import KINDS, Kind
from .video_writer import grey_of


def judge(kind: Kind, path: Path) -> Verdict:
    """Whether the result, or the error, is the right one."""
    began = time.monotonic()
    error: str | None = None
    try:
        faults = list(_wrong(kind, path))
        if kind.error is not None:
            faults.append(f"read, where this was to be told: {kind.error}")
    except UserError as told:
        error = str(told)
        is_right = kind.error is not None and re.search(kind.error, error) and error.startswith(str(path))
        faults = [] if is_right else [f"told, where {kind.error or 'a result'} was wanted: {error}"]
    peak = peak_mb()
    if peak > kind.peak_mb:
        faults.append(f"{peak} MB of memory, {kind.peak_mb} are granted")
    return Verdict("; ".join(faults) or None, error, peak, round(time.monotonic() - began, 3))


def _wrong(kind: Kind, path: Path) -> Iterator[str]:
    info = probe(path)
    count = whole_seconds(info.duration)
    shown = list[int]()
    for number, frame in enumerate(each_frame(path, size=kind.read_size)):
        if kind.size is not None and frame.shape != (*kind.size, 3):
            yield f"frame {number} is {frame.shape}"
        if kind.white is not None and _white_corners(frame) != [kind.white]:
            yield f"frame {number} is white at {_white_corners(frame)}"
        if number < len(kind.seconds):
            grey = float(frame[::16, ::16].mean())
            if abs(grey - grey_of(kind.seconds[number])) > 5:
                yield f"frame {number} is of grey {grey:.1f}, not of second {kind.seconds[number]}"
        shown.append(number)
    wanted = len(kind.seconds) or count
    if not len(shown) == count == wanted:
        yield f"{len(shown)} frames in {info.duration} s, {wanted} wanted"
    if kind.encoded:
        # Only here: others need no torch.
        from .long_clip import wrong_encoding

        yield from wrong_encoding(path, wanted)
    sound = read_audio(path)
    if kind.amplitudes is None:
        if kind.seconds and sound is not None and kind.size is not None:
            yield "sound where there is none"
        return
    if sound is None or sound.shape != (len(kind.amplitudes), 16000) or sound.dtype != np.float32:
        yield f"sound of {None if sound is None else sound.shape}"
        return
    # A sine's amplitude is the root of twice its power. A tenth of a second at each end belongs to filters.
    for second, (wave, right) in enumerate(zip(sound, kind.amplitudes, strict=True)):
        found = float(np.sqrt(2 * np.square(wave[1600:-1600]).mean()))
        if abs(found - right) > kind.slack:
            yield f"the amplitude in second {second} is {found:.4f}, not {right:.4f}"


def _white_corners(frame: npt.NDArray[np.uint8]) -> list[tuple[int, int]]:
    corners = {(row, column): frame[-row * 8 :][:8] if row else frame[:8] for row in (0, 1) for column in (0, 1)}
    return [place for place, rows in corners.items() if (rows[:, -8:] if place[1] else rows[:, :8]).mean() > 200]


if __name__ == "__main__":
    _limit = ADDRESS_SPACE_MB * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (_limit, _limit))
    av.logging.set_level(None)
    print(json.dumps(asdict(judge(KINDS[sys.argv[1]], Path(sys.argv[2])))))
