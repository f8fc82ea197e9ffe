"""Shards: together everything, no video twice, and the same folder as one run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from examples.avqa import extract as extract_module
from examples.avqa.clips import ClipFeatures, Length, encode_clip
from examples.avqa.encoders import Encoders
from examples.avqa.errors import UserError
from examples.avqa.extract import extract
from examples.avqa.shard import Shard, find_shard
from tests.examples.killing import digests
from tests.examples.tiny_videos import write_video

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
SRUN = {"SLURM_PROCID": "2", "SLURM_NTASKS": "3", "SLURM_STEP_NUM_TASKS": "3", "SLURM_LOCALID": "0"}
MACHINES = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_TASKS_PER_NODE": "3(x2),2"}
SBATCH = {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}


@pytest.mark.parametrize(
    ("option", "environment", "wanted"),
    [
        (None, {}, Shard()),
        ("1/4", TORCHRUN, Shard(1, 4, source="--shard")),
        (None, TORCHRUN, Shard(5, 8, 1, 4, "torchrun")),
        (None, SRUN, Shard(2, 3, 0, 1, "SLURM")),
        (None, SRUN | {"SLURM_NTASKS_PER_NODE": "2"}, Shard(2, 3, 0, 2, "SLURM")),
        (None, SRUN | TORCHRUN, Shard(5, 8, 1, 4, "torchrun")),
        # What srun tells by itself, on machines of 3, 3 and 2 tasks.
        (None, MACHINES | {"SLURM_NODEID": "1", "SLURM_LOCALID": "2"}, Shard(5, 8, 2, 3, "SLURM")),
        (None, MACHINES | {"SLURM_NODEID": "2", "SLURM_LOCALID": "0"}, Shard(5, 8, 0, 2, "SLURM")),
        # A task that is not its machine's first has others beside it.
        (None, {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "5"}, Shard(5, 8, 5, 6, "SLURM")),
        # A batch script that runs the command itself is alone.
        (None, SBATCH, Shard()),
        (None, {"RANK": "0", "WORLD_SIZE": "1"}, Shard()),
    ],
)
def test_who_says_which_shard(option: str | None, environment: dict[str, str], wanted: Shard) -> None:
    assert find_shard(option, environment) == wanted


@pytest.mark.parametrize("option", ["4/4", "1", "-1/2", "1/2/3", "a/b", ""])
def test_what_is_no_shard_is_refused(option: str) -> None:
    with pytest.raises(UserError, match="give I/N, the part I of N counted from 0"):
        find_shard(option, {})


def test_shards_are_everything_once() -> None:
    whole = list(range(10))
    parts = [Shard(rank, 4).of(whole) for rank in range(4)]
    assert sorted(number for part in parts for number in part) == whole
    assert {len(part) for part in parts} == {2, 3}


def test_two_shards_make_the_folder_of_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos, encoded = tmp_path / "videos", list[str]()
    videos.mkdir()
    for name in "abc":
        write_video(videos / f"{name}.mp4", seconds=1, size=(32, 48))

    def noted(path: Path, encoders: Encoders, length: Length, on_frame: Callable[[int, int], None]) -> ClipFeatures:
        encoded.append(path.stem)
        return encode_clip(path, encoders, length, on_frame)

    monkeypatch.setattr(extract_module, "encode_clip", noted)
    extract(videos, tmp_path / "one", workers=1)
    encoded.clear()
    extract(videos, tmp_path / "two", workers=1, shard="0/2")
    assert encoded == ["a", "c"]
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    extract(videos, tmp_path / "two", workers=1)
    assert encoded == ["a", "c", "b"]
    assert digests(tmp_path / "two") == digests(tmp_path / "one")
    extract(videos, tmp_path / "two", workers=1, shard="3/4")
    assert len(encoded) == 3
