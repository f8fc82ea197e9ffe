"""Kills `extract` with SIGKILL at random moments and reruns it: python -m tests.examples.kill_extract --times 20."""

from __future__ import annotations

import argparse
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

from tests.examples.killing import Kill, kill_and_rerun
from tests.examples.tiny_videos import write_video
from tests.examples.tiny_weights import write_weights


def kill_extract(scratch: Path, times: int, seed: int = 0, videos: int = 24) -> list[Kill]:
    """Extracts videos in two processes, by preset `paper` with tiny weights, killed `times` times."""
    folder, out = scratch / "videos", scratch / "features"
    folder.mkdir()
    for number in range(videos):
        write_video(folder / f"{number}.mp4", seconds=20 + number, fps=Fraction(5), size=(96, 128), sample_rate=16000)
    weights = write_weights(scratch / "weights")
    command = [sys.executable, "-m", "examples.avqa", "extract", "--preset", "paper", "--weights", str(weights)]
    command += ["--videos", str(folder), "--out", str(out), "--workers", "2"]
    return kill_and_rerun(command, out, times, seed, after_kill=check_whole)


def check_whole(out: Path) -> None:
    """No array is cut off, and an index stands beside complete features only."""
    for path in out.rglob("*.npy"):
        if not path.name.startswith("."):
            assert len(np.load(path, allow_pickle=False)) == 60, path
    for path in (out / "index").glob("[!.]*.json"):
        for folder in ("vggish", "frame_ViT-L14@336px", "visual_tome14"):
            assert (out / folder / f"{path.stem}.npy").is_file(), path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="kills")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kills = kill_extract(Path(folder), options.times, options.seed)
    for kill in kills:
        killed = "all" if kill.group else "one"
        print(f"killed {killed} after {kill.after:5.2f} s, {kill.files:2} files there: same result")
