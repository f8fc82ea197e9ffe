"""Broken video files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue

from tests.stress.attack import Attack, Defect, Outcome, Run
from tests.stress.broken_videos import broken, valid
from tests.stress.judged import Judge
from tests.stress.video_judge import Verdict

PEAK_MB = 1024
"""The most memory that reading any of these files may take, of the whole process."""
_TESTS = "tests/examples/test_media_hostile.py"
_JUDGES = 4
"""Processes at a time: one waits while its next input is made."""


def _run(run: Run) -> Outcome:
    folder = run.folder / "valid"
    folder.mkdir()
    failures, peak, slowest, read = list[str](), 0, 0.0, 0
    for number, (how, verdict) in enumerate(_verdicts(run, valid(folder))):
        if verdict.fault is not None:
            failures.append(f"input {number} ({how}): {verdict.fault}")
        peak, slowest = max(peak, verdict.peak_mb), max(slowest, verdict.seconds)
        read += verdict.error is None and verdict.fault is None
        run.tell(number + 1)
    measured: dict[str, str | int | float] = {"read": read, "refused": run.amount - read - len(failures)}
    return Outcome(run.amount, tuple(failures), measured | {"most memory": f"{peak} MB", "slowest": f"{slowest:.1f} s"})


def _verdicts(run: Run, seeds: Mapping[str, bytes]) -> Iterator[tuple[str, Verdict]]:
    """What was done to each input, and the verdict on it, in order."""
    free = SimpleQueue[Judge]()

    def judged(number: int) -> tuple[str, Verdict]:
        made = broken(seeds, number, run.seed)
        place = run.folder / str(number)
        place.mkdir()
        (place / made.name).write_bytes(made.content)
        judge = free.get()
        try:
            verdict = judge(place / made.name)
            if verdict.fault is None and verdict.peak_mb > PEAK_MB:
                # The peak of a process never falls again.
                judge.end()
                verdict = Verdict(f"{verdict.peak_mb} MB of memory", None, verdict.peak_mb, verdict.seconds)
        finally:
            free.put(judge)
        (place / made.name).unlink()
        place.rmdir()
        return made.how, verdict

    with ExitStack() as stack:
        for _ in range(_JUDGES):
            free.put(stack.enter_context(Judge()))
        with ThreadPoolExecutor(_JUDGES) as pool:
            yield from pool.map(judged, range(run.amount))


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
        defects=(
            Defect(
                "a video whose codec nobody knows ended in a traceback",
                f"{_TESTS}::test_an_unknown_codec",
                "unknown codecs",
            ),
            Defect(
                "tables of an MP4 of 2 kB were unfolded to 1.4 GB of memory",
                f"{_TESTS}::test_tables_that_claim_more_than_the_file_can_hold",
                "MP4 tables that claim millions of samples took gigabytes",
            ),
        ),
    ),
)
