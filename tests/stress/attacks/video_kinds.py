"""Videos that are valid and extreme, or lie about themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.stress.attack import Attack, Defect, Outcome, Run
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
_TESTS = "tests/examples/test_media_hostile.py"
# Three hours of sound are encoded in half a minute of one core, which others may use, too.
_PATIENCE_S = 1200


def _judged(name: str, path: Path) -> Verdict:
    command = [sys.executable, "-m", "tests.stress.video_kind_judge", name, str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        return Verdict(f"not read in {_PATIENCE_S} s", None, 0, _PATIENCE_S)
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
        "with 8K, 2048 MB where three hours are encoded, features and encoders among them",
        run=_run,
        full=len(KINDS),
        sample=len(_FIRST),
        unit="videos",
        defects=(
            Defect(
                "sound of 8 channels and more crashed the interpreter",
                f"{_TESTS}::test_eight_channels_and_more",
                "Sound of 8 channels and more crashed the interpreter",
            ),
            Defect(
                "a header of 10,000 hours was read for minutes, and took gigabytes",
                f"{_TESTS}::test_a_header_of_ten_thousand_hours_takes_no_memory",
                "headers that claim hours were read for minutes",
            ),
            Defect(
                "a header that said ten times too long gave the last frame again and again",
                f"{_TESTS}::test_a_header_that_says_ten_times_too_long",
                "or repeated the last frame",
            ),
            Defect(
                "the spectrograms of a clip of hours were computed at once, in gigabytes",
                f"{_TESTS}::test_long_clips_are_encoded_piece_by_piece",
                "Clips of hours are encoded piece by piece",
            ),
            Defect(
                "a video of hours showed no progress while it was extracted",
                f"{_TESTS}::test_extraction_tells_how_many_frames_were_read",
                "piece by piece with progress",
            ),
            Defect(
                "sound after a gap was moved to its start",
                f"{_TESTS}::test_sound_after_a_gap_stays_at_its_time",
                "Sound keeps its time after gaps",
            ),
            Defect(
                "sound that became stereo on the way was refused",
                f"{_TESTS}::test_sound_that_becomes_stereo_on_the_way",
                "may change its channels on the way",
            ),
            Defect(
                "pictures that became larger on the way ended in a traceback",
                f"{_TESTS}::test_pictures_that_become_larger_on_the_way",
                "pictures may change their size on the way",
            ),
            Defect(
                "sound that is no number became features that are none",
                f"{_TESTS}::test_sound_that_is_no_number",
                "NaN in sound",
            ),
            Defect(
                "a tag such as 00:00:1/0 ended in a traceback",
                f"{_TESTS}::test_a_tag_that_is_no_time",
                "impossible tags and rates are told",
            ),
            Defect(
                "a Matroska file that starts after an hour was refused",
                f"{_TESTS}::test_a_late_file_lasts_as_long_as_its_content",
                "Matroska files may start late",
            ),
        ),
    ),
)
