"""Files of results: written whole, read back, and where they come from."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

from benchmarks import provenance, record
from benchmarks.cases import EAGER, PUBLISHED, Case, Experiment
from benchmarks.errors import UserError
from benchmarks.measure import Timing
from benchmarks.record import Recording, Row, read, write
from tests.benchmarks.recorded import PROVENANCE

CASE = Case(2, 9, 16, 4, 2, stds=0.03)
ROWS = [
    Row("growth", CASE, "layer", "abc1234", {"forward": Timing(0.001234567, 0.001, 0.002)}, memory=123456789, flops=7),
    Row("growth", CASE, "published", "abc1234", fault="the result differs"),
    Row("grid", PUBLISHED[0], "layer", "abc1234", left_out="needs about 9 GiB"),
]
EXPERIMENT = Experiment("growth", CASE, EAGER)


def test_rows_are_read_back_with_times_to_four_digits(tmp_path: Path) -> None:
    write(tmp_path / "a.json", PROVENANCE, ROWS)
    made, rows = read(tmp_path / "a.json")
    assert made == PROVENANCE
    assert rows[1:] == ROWS[1:]
    assert rows[0].times == {"forward": Timing(0.001235, 0.001, 0.002)}
    assert (rows[0].memory, rows[0].flops) == (123456789, 7)
    write(tmp_path / "b.json", made, rows)
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write(path, PROVENANCE, ROWS)
    before = path.read_bytes()

    def full(self: Path, target: Path) -> Path:
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="no space"):
            write(path, PROVENANCE, ROWS[:1])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"provenance": {}, "rows": [{"suite": "grid"}]}', '{"rows": 3}'])
def test_a_file_that_holds_no_results_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"a\.json holds no results"):
        read(path)
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path / "absent.json")


def test_replacing_a_case_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write(path, PROVENANCE, ROWS)
    recording = Recording(path, PROVENANCE, "abc1234", again=False, keep=False)
    assert recording.has(EXPERIMENT, ["layer"])
    assert not recording.has(EXPERIMENT, ["layer", "published"])
    fresh = Row("growth", CASE, "published", "abc1234", {"forward": Timing(1.0, 1.0, 1.0)})
    recording.replace(EXPERIMENT, [fresh])
    assert recording.has(EXPERIMENT, ["layer", "published"])
    _, rows = read(path)
    assert [row.implementation for row in rows] == ["layer", "layer", "published"]
    assert rows[-1] == fresh
    assert json.loads(path.read_text())["provenance"].keys() == {*PROVENANCE, "date"}


def test_rows_of_another_machine_are_never_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write(path, PROVENANCE, ROWS)
    other = PROVENANCE | {"torch": "2.14.0"}
    recording = Recording(path, other, "abc1234", again=False, keep=False)
    assert recording.rows == []
    assert "other versions" in recording.started_anew
    with pytest.raises(UserError, match="another device or other versions"):
        Recording(path, other, "abc1234", again=False, keep=True)


def test_provenance_says_on_what_and_with_what() -> None:
    made = provenance.provenance("cpu")
    assert made.keys() == PROVENANCE.keys()
    assert made["kind"] == "cpu"
    assert made["torch"] == torch.__version__
    assert made["threads"] == str(torch.get_num_threads())
    assert made["device"]


def test_a_file_name_tells_the_device() -> None:
    assert provenance.slug(PROVENANCE | {"device": "AMD EPYC 9B14 (TM)"}) == "amd-epyc-9b14-tm-2-threads"
    assert provenance.slug(PROVENANCE | {"device": "NVIDIA H100 80GB HBM3", "kind": "cuda"}) == "nvidia-h100-80gb-hbm3"
    assert provenance.title(PROVENANCE | {"threads": "1"}) == "Some CPU, 1 thread"


def test_the_commit_is_dirty_where_measured_code_differs_and_only_there(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    assert provenance.commit(tmp_path) == "unknown"
    for name in ("gaussian_moe/a.py", "kernels/a.py", "benchmarks/results/a.json", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "all")
    name = git("rev-parse", "--short", "HEAD")
    (tmp_path / "README.md").write_text("2")
    (tmp_path / "benchmarks/results/a.json").write_text("2")
    (tmp_path / "benchmarks/results/b.json").write_text("2")
    assert provenance.commit(tmp_path) == name
    (tmp_path / "kernels/new.py").write_text("1")
    assert provenance.commit(tmp_path) == f"{name}-dirty"


def test_recorded_files_in_the_tree_can_be_read() -> None:
    for path in record.RESULTS.glob("*.json"):
        made, rows = read(path)
        assert made.keys() == {*PROVENANCE, "date"}
        assert path.stem == provenance.slug(made)
        assert not any("dirty" in row.commit for row in rows)
