"""The fuzzers themselves: they see what breaks, and a parser that ends its process ends nothing else."""

from __future__ import annotations

import functools
import importlib.util
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from examples.avqa.errors import UserError
from tests.stress.attack import Run
from tests.stress.fuzz import campaign, child, collect, corpus, guided
from tests.stress.fuzz.byte_changes import BYTES
from tests.stress.fuzz.json_changes import json_changed
from tests.stress.fuzz.judge import unclear
from tests.stress.fuzz.parser import Draw, Parser
from tests.stress.fuzz.parsers import INSTRUMENTED, load
from tests.stress.shell import by_shell


def _parse(folder: Path) -> None:
    path = folder / "file"
    kind = path.read_bytes()
    if kind == b"right":
        return
    if kind == b"refused":
        raise UserError(f"{path} is refused")
    if kind == b"two lines":
        raise ValueError(f"{path} is\nrefused")
    if kind == b"no file":
        raise UserError("it is refused")
    if kind == b"crash":
        os._exit(3)
    if kind == b"hang":
        time.sleep(60)
    if kind == b"memory":
        bytearray(300 << 20)
    if kind == b"address space":
        bytearray(2 << 30)
    if kind == b"canary":
        (folder / "canary").touch()
    if kind == b"outside":
        (folder.parent / "stray").touch()
    if kind == b"trace":
        raise KeyError("x")


PARSER = Parser("toy", lambda: ({"file": b"right"},), {"file": ()}, _parse, refusals=(UserError, ValueError))
VERDICTS = {
    "right": ("right", ""),
    "refused": ("refused", "file is refused"),
    "two lines": ("fault", "not one printable line"),
    "no file": ("fault", "names no file"),
    "crash": ("fault", "the process ended with 3"),
    "hang": ("fault", "no answer in 0.5 s"),
    "memory": ("fault", " MiB of memory"),
    "address space": ("fault", "MemoryError"),
    "canary": ("fault", "made canary"),
    "outside": ("fault", "made stray"),
    "trace": ("fault", "KeyError: 'x'"),
}


def test_every_fault_is_seen_and_none_ends_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = child.Child(PARSER, tmp_path)
    try:
        for kind, (verdict, text) in VERDICTS.items():
            # The clock of the others is not touched: a busy machine may be slow.
            monkeypatch.setattr(child, "SECONDS", 0.5 if kind == "hang" else 60.0)
            found = tried.try_({"file": kind.encode()})
            assert (found.kind, text in found.text) == (verdict, True), (kind, found)
    finally:
        tried.close()


def test_a_message_must_be_clear() -> None:
    folder = Path("/somewhere")
    assert unclear("/somewhere/a.json is no JSON", folder) == ""
    assert "one printable line" in unclear("/somewhere\n", folder)
    assert "one printable line" in unclear("/somewhere \x1b[2J", folder)
    assert "characters" in unclear("/somewhere" * 1000, folder)
    assert "names no file" in unclear("it is no JSON", folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", INSTRUMENTED)
def test_what_is_changed_is_valid_before(name: str, tmp_path: Path) -> None:
    parser = load(name)
    tried = child.Child(parser, tmp_path)
    try:
        for files in parser.seeds():
            found = tried.try_(files)
            assert found.kind == "right", found.text
    finally:
        tried.close()


def test_text_and_small_files_have_a_corpus() -> None:
    """Checkpoints and weights are larger than what is kept: what broke there is in tests/examples."""
    for name in INSTRUMENTED:
        large = "checkpoint" in name or "weights" in name or name in ("encoded-questions", "hub-folder")
        kept = list(corpus.kept(name))
        assert large or kept, f"python -m tests.stress.fuzz.collect {name}"
        assert all(set(files) <= {file for seed in load(name).seeds() for file in seed} for files in kept)


def test_changes_are_the_same_for_the_same_seed() -> None:
    parser = load("annotations")
    first = [dict(files) for files in campaign.changed(parser, 20, 3)]
    assert first == [dict(files) for files in campaign.changed(parser, 20, 3)]
    assert len({corpus.digest(files) for files in first}) > 10
    draw = Draw(random.Random(1).randint)
    for change in (*BYTES, json_changed):
        assert any(change(draw, b'{"a": [1, "b"]}') != b'{"a": [1, "b"]}' for _ in range(20)), change.__name__


@pytest.mark.slow
def test_memory_of_whoever_starts_a_fuzzer_is_not_its_own() -> None:
    held = bytearray(os.urandom(1 << 20) * 300)
    code = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)"
    run = functools.partial(subprocess.run, capture_output=True, text=True, check=True)
    alone, shell = (int(run(way([sys.executable, "-c", code])).stdout) for way in (list, by_shell))
    assert shell < 100 < len(held) >> 20 <= alone


def test_inputs_are_kept_and_given_back(tmp_path: Path) -> None:
    files = {"index/a.json": b"[" * 1000, "b": b"\0"}
    path = corpus.keep(tmp_path, "toy", files)
    assert path.stat().st_size < 500
    assert list(corpus.kept("toy", tmp_path)) == [files]
    before = path.read_bytes()
    assert corpus.keep(tmp_path, "toy", files).read_bytes() == before


@pytest.mark.slow
def test_the_coverage_guided_part_tries_what_it_is_told(tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        with pytest.raises(RuntimeError, match="needs atheris"):
            guided.run(load("metrics"), 200, 1, tmp_path)
        return
    found = guided.run(load("metrics"), 200, 1, tmp_path)
    assert found.faults == []
    assert found.executed >= 200
    # Each is a folder that the parser can be given again; the seeds are no findings.
    assert len(found.reaching) <= 200
    assert all(set(files) == set(load("metrics").seeds()[0]) for files in found.reaching)


def test_the_last_small_inputs_are_collected(tmp_path: Path) -> None:
    reaching = [{"a": os.urandom(size)} for size in (10, 20, 100_000, 30)]
    corpus.keep(tmp_path, "toy", {"a": b"of before"})
    assert collect.collected("toy", reaching, 2, tmp_path) == 2
    assert sorted(len(files["a"]) for files in corpus.kept("toy", tmp_path)) == [20, 30]


def test_an_attack_tells_what_broke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(folder: Path) -> None:
        if b"[[" in (folder / "train.json").read_bytes():
            raise RecursionError("planted")
        raise UserError(f"{folder} is refused")

    real = load("annotations")
    monkeypatch.setattr(campaign, "load", lambda name: Parser(name, real.seeds, real.changes, parse))
    outcome = campaign.attack(Run(100, tmp_path), ("annotations",))
    assert outcome.tried >= 100
    assert any("RecursionError: planted" in failure for failure in outcome.failures)
