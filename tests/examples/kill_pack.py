"""Kills `pack` at random moments and runs it again: `python -m tests.examples.kill_pack --times 20`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from examples.avqa.encoders import load_encoders
from examples.avqa.errors import UserError
from examples.avqa.store import FeatureStore
from tests.examples.killing import Kill, kill_and_rerun


def write_features(root: Path, videos: int, frames: int = 20) -> None:
    """Synthetic features of the `small` preset's shapes, for packing that takes a while."""
    encoders, generator = load_encoders("small"), np.random.default_rng(0)
    widths = {"audio": (encoders.dims.audio,), "video": (encoders.dims.video,), "patches": encoders.dims.patches}
    for modality, name in encoders.folders.items():
        (root / name).mkdir(parents=True)
        for video in range(videos):
            array = generator.standard_normal((frames, *widths[modality]), dtype=np.float32)
            np.save(root / name / f"{video:05}.npy", array)


def assert_whole_or_no_store(out: Path) -> None:
    """What a kill left is either a finished store, every byte as it was packed, or is refused as unfinished."""
    try:
        store = FeatureStore(out)
    except UserError as error:
        if "unfinished store" not in str(error):
            raise
    else:
        assert not any(store.value_fault(video_id) for video_id in store.index.clips)


def kill_pack(root: Path, times: int, videos: int) -> list[Kill]:
    """Kills packing of `videos` videos `times` over, within the folder `root`."""
    write_features(root / "features", videos)
    command = [sys.executable, "-m", "examples.avqa", "pack", "--features", str(root / "features")]
    out = root / "store"
    return kill_and_rerun([*command, "--out", str(out)], out, times, after_kill=assert_whole_or_no_store)


def main() -> None:
    """Prints each kill; a difference is an error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="kills")
    parser.add_argument("--videos", type=int, default=1500, help="videos, so that packing takes a second or more")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kills = kill_pack(Path(folder), options.times, options.videos)
    for kill in kills:
        print(f"killed after {kill.after:.2f} s, {'the group' if kill.group else 'the process'}, {kill.files} files")
    print(f"{len(kills)} kills: every rerun gave the bytes of an uninterrupted run")


if __name__ == "__main__":
    main()
