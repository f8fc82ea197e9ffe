"""Broken video files."""

from __future__ import annotations

from tests.stress.attack import Attack, Outcome, Run
from tests.stress.broken_videos import broken, valid
from tests.stress.judged import Judge

PEAK_MB = 1024
"""The most memory that reading any of these files may take, of the whole process."""


def _run(run: Run) -> Outcome:
    folder = run.folder / "valid"
    folder.mkdir()
    seeds = valid(folder)
    failures, peak, slowest, read = list[str](), 0, 0.0, 0
    with Judge() as judge:
        for number in range(run.amount):
            made = broken(seeds, number, run.seed)
            path = run.folder / made.name
            path.write_bytes(made.content)
            verdict = judge(path)
            fault = verdict.fault
            if fault is None and verdict.peak_mb > PEAK_MB:
                fault = f"{verdict.peak_mb} MB of memory"
                # The peak of a process never falls again.
                judge.end()
            if fault is not None:
                failures.append(f"input {number} ({made.how}): {fault}")
            peak, slowest = max(peak, verdict.peak_mb), max(slowest, verdict.seconds)
            read += verdict.error is None and verdict.fault is None
            path.unlink()
            run.tell(number + 1)
    measured = {"read": read, "refused": run.amount - read - len(failures), "most memory": f"{peak} MB"}
    return Outcome(run.amount, tuple(failures), {**measured, "slowest": f"{slowest:.1f} s"})


ATTACKS = (
    Attack(
        name="fuzz-video",
        area="Fuzzing",
        tried="videos of 16 sorts (MP4, fragments, MOV, MKV, WebM, AVI, TS, PS, FLV, WMV, OGV, GIF) with bits, ranges, "
        "boxes, elements or numbers broken, cut, spliced, misnamed; other files under their names",
        holds="a result of the right shape, or one line that names the file; never another error, 10 s without "
        f"progress or over {PEAK_MB} MB",
        run=_run,
        full=10_000,
        sample=150,
    ),
)
