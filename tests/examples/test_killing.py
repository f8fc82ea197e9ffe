"""The helper that kills commands finds those that do not survive it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.examples.killing import digests, kill_and_rerun

# Three files, one every 0.1 s, each whole or not at all, those that are there left alone.
CAREFUL = """
import os, pathlib, sys, time
out = pathlib.Path(sys.argv[1])
out.mkdir(exist_ok=True)
for name in "abc":
    if not (out / name).exists():
        time.sleep(0.1)
        (out / ".tmp").write_text(name)
        os.replace(out / ".tmp", out / name)
"""
# Half a file stays for good.
CARELESS = """
import pathlib, sys, time
out = pathlib.Path(sys.argv[1])
out.mkdir(exist_ok=True)
if not (out / "a").exists():
    with (out / "a").open("w", buffering=1) as file:
        print("one", file=file)
        time.sleep(0.5)
        print("two", file=file)
"""


@pytest.mark.slow
def test_a_careful_command_survives(tmp_path: Path) -> None:
    out, seen = tmp_path / "out", list[int]()
    kills = kill_and_rerun(
        [sys.executable, "-c", CAREFUL, str(out)],
        out,
        times=4,
        after_kill=lambda folder: seen.append(len(digests(out))),
    )
    assert len(kills) == len(seen) == 4
    assert {kill.group for kill in kills} == {False, True}


def test_half_a_file_is_found(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(AssertionError, match="the rerun differs in a"):
        kill_and_rerun([sys.executable, "-c", CARELESS, str(out)], out, times=4)


def test_a_command_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="ended with 3"):
        kill_and_rerun([sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "out", times=1)
