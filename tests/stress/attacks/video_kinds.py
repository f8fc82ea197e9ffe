"""Videos that are valid and extreme, or lie about themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.stress.attack import Attack, Outcome, Run
from tests.stress.video_judge import Verdict
from tests.stress.video_kinds import KINDS

# From the start of the list on, a few of each sort would be read; these are quick and of all sorts.
_FIRST = (
    "2 x 2",
    "variable frame rate",
    "turned by 270 degrees",
    "float sound of 4 times full scale",
    "sound with a gap",
    "pictures that become larger",
    "starts after an hour",
    "7.1 sound",
    "10 bits",
    "header times 10",
    "header of 10,000 hours",
    "tag of 10^99999999 seconds",
    "20 million samples in a table",
)


def _judged(name: str, path: Path) -> Verdict:
    command = [sys.executable, "-m", "tests.stress.video_kind_judge", name, str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return Verdict("not read in 120 s", None, 0, 120)
    if done.returncode:
        return Verdict(f"exit code {done.returncode}: {done.stderr.strip().splitlines()[-1:]}", None, 0, 0)
    return Verdict(**json.loads(done.stdout))


def _run(run: Run) -> Outcome:
    names = [*_FIRST, *(name for name in KINDS if name not in _FIRST)][: run.amount]
    failures, peaks = list[str](), dict[str, int]()
    for number, name in enumerate(names):
        path = KINDS[name].write(run.folder / f"kind{number}")
        verdict = _judged(name, path)
        peaks[name] = verdict.peak_mb
        if verdict.fault is not None:
            failures.append(f"{name}: {verdict.fault}")
        path.unlink()
        run.tell(number + 1)
    most = max(peaks, key=peaks.__getitem__)
    return Outcome(len(names), tuple(failures), {"most memory": f"{peaks[most]} MB ({most})"})


ATTACKS = (
    Attack(
        name="video-kinds",
        area="Fuzzing",
        tried="extreme videos whose right result is known: 1 x 1 to 8K, 0.01 s to 3 hours, 1 to 384 kHz, 1 to 16 "
        "channels, rotated, of variable rate, late, silent, clipping, 10 bits, alpha, with headers that lie",
        holds="each second's picture and loudness are right, or the error says what is wrong; at most 256 MB, 640 MB "
        "with 8K",
        run=_run,
        full=len(KINDS),
        sample=len(_FIRST),
        unit="videos",
    ),
)
