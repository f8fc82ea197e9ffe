"""Broken video files that reach new lines of our readers."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from tests.stress.attack import Attack, Outcome, Run
from tests.stress.broken_videos import valid
from tests.stress.shell import by_shell
from tests.stress.video_guided import PEAK_MB


def _run(run: Run) -> Outcome:
    corpus = run.folder / "corpus"
    corpus.mkdir()
    valid(corpus)
    tried, failures, peak = 0, list[str](), 0
    while tried < run.amount:
        command = ["tests.stress.video_guided", str(run.folder), str(run.amount - tried), str(run.seed + tried)]
        command = by_shell([sys.executable, "-m", *command])
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        here = _number(run.folder / "tried")
        tried += here
        run.tell(min(tried, run.amount))
        for line in done.stderr.splitlines():
            if line.startswith("stat::peak_rss_mb:"):
                peak = max(peak, int(line.split()[1]))
        if done.returncode or not here:
            # The fuzzer keeps the input in its folder, and ends.
            kept = [path.name for path in run.folder.iterdir() if path.name.startswith(("crash-", "oom-", "timeout-"))]
            failures.append(f"after {tried} inputs exit code {done.returncode}, {kept}: {done.stderr[-300:]}")
            if not here:
                break
        (run.folder / "tried").unlink(missing_ok=True)
    faults = run.folder / "faults.jsonl"
    failures += [json.loads(line) for line in faults.read_text().splitlines()] if faults.exists() else []
    by = f"atheris {version('atheris')}" if find_spec("atheris") else "nothing: atheris is not installed"
    measured: dict[str, str | int | float] = {"guided by": by}
    return Outcome(tried, tuple(failures), measured | ({"most memory": f"{peak} MB"} if peak else {}))


def _number(path: Path) -> int:
    return int(path.read_text()) if path.exists() else 0


ATTACKS = (
    Attack(
        name="fuzz-video-guided",
        area="Fuzzing",
        tried="the same changes, kept and changed further where they reach new lines of our readers",
        holds="a result of the right shape, or one line that names the file; never another error, 10 s or over "
        f"{PEAK_MB} MB",
        run=_run,
        full=3_000,
        sample=60,
    ),
)
