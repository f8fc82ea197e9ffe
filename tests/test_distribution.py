"""The release check: what it copies and counts, what the sdist holds, and what is recorded."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from docs import compatibility
from tests import distribution
from tests.distribution import Failed, Options, copy_tree, counted
from tests.distribution_record import Outcome, add

OUTCOME = Outcome("wheel", "1.0", "3.10.4", "2.7.0+cu126", "3.3.0", "Linux x86_64", 10, 0, 2, 5)


@pytest.fixture
def options(tmp_path: Path) -> Options:
    (tmp_path / "logs").mkdir()
    return Options("", sys.executable, "", False, 1, tmp_path, time.monotonic())


def test_the_copy_is_what_git_knows(tmp_path: Path) -> None:
    copy_tree(tmp_path)
    assert (tmp_path / "gaussian_moe" / "kernels").is_symlink()
    assert (tmp_path / "tests" / "test_distribution.py").is_file()
    assert not list(tmp_path.rglob("__pycache__"))


def test_two_installations_are_compared_file_by_file(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        (tmp_path / folder / "inner").mkdir(parents=True)
        (tmp_path / folder / "inner" / "a.py").write_text("1")
    one, other = tmp_path / "one", tmp_path / "other"
    assert distribution.same_files(one, other) == 1
    (one / "a.pyc").write_text("2")  # What Python writes when it imports.
    assert distribution.same_files(one, other) == 1
    (other / "b.py").write_text("")
    with pytest.raises(Failed, match=r"does not hold the files of .*one: b\.py"):
        distribution.same_files(one, other)
    (one / "b.py").write_text("2")
    with pytest.raises(Failed, match=r"b\.py"):
        distribution.same_files(one, other)
    with pytest.raises(Failed, match="there are none"):
        distribution.same_files(tmp_path / "none", tmp_path / "none")


def test_a_report_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "report.xml"
    suite = '<testsuite tests="10" failures="1" errors="2" skipped="3"/>'
    file.write_text(f"<testsuites>{suite}{suite}</testsuites>")
    assert counted(file) == (8, 6, 6)


def test_a_step_that_fails_says_so_with_its_output(options: Options, capsys: pytest.CaptureFixture[str]) -> None:
    assert options.run("counting", [sys.executable, "-c", "print(1)"]) == "1\n"
    with pytest.raises(Failed, match=r"(?s)leaving: exit code 3\nwhy$"):
        options.run("leaving", [sys.executable, "-c", "print('why', end=''); raise SystemExit(3)"])
    assert "counting" in capsys.readouterr().out


def test_what_the_shell_sets_does_not_reach_the_environment(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    program = "import os; print(os.environ.get('PYTHONPATH'), os.environ['PYTHONNOUSERSITE'])"
    assert options.run("looking", [sys.executable, "-c", program]) == "None 1\n"


@pytest.mark.parametrize(
    ("torch", "wanted"), [("", ["torch==2.13.0", "a==1"]), ("2.7.0", ["a==1", "torch==2.7.0"]), ("newest", ["a==1"])]
)
def test_the_torch_that_was_asked_for_takes_the_place_of_the_pin(
    options: Options, tmp_path: Path, torch: str, wanted: list[str]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "constraints.txt").write_text("torch==2.13.0\na==1\n")
    assert distribution.constraints(replace(options, torch=torch), source).read_text().splitlines() == wanted


@pytest.mark.slow
def test_a_package_that_is_imported_from_elsewhere_is_refused() -> None:
    """This environment has the tree itself, not a copy in site-packages."""
    done = subprocess.run(
        [sys.executable, "-c", distribution.WHERE], capture_output=True, text=True, cwd=distribution.ROOT
    )
    assert done.returncode == 1
    assert "is not in" in done.stderr


def test_a_folder_without_packages_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert distribution.main(["--dist", str(tmp_path)]) == 1
    assert "must hold one *.tar.gz, it holds 0; run `make dist`" in capsys.readouterr().err


def test_a_result_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    add(file, OUTCOME, "abc", "2.7.0")
    add(file, replace(OUTCOME, kind="wheel, kernels interpreted"), "abc", "2.7.0")
    add(file, replace(OUTCOME, passed=11), "def", "2.7.0")
    first, second = json.loads(file.read_text())
    assert (
        first["command"] == "python -m tests.distribution --python python3.10 --torch 2.7.0 --only wheel --interpreter"
    )
    assert (second["passed"], second["commit"]) == (11, "def")
    assert second["command"] == "python -m tests.distribution --python python3.10 --torch 2.7.0 --only wheel"


def test_the_page_is_up_to_date() -> None:
    page = compatibility.PAGE.read_text(encoding="utf-8")
    assert compatibility.filled(page, json.loads(compatibility.RECORD.read_text(encoding="utf-8"))) == page


def test_the_oldest_torch_and_python_were_tested_and_nothing_failed() -> None:
    results = json.loads(compatibility.RECORD.read_text(encoding="utf-8"))
    project = (distribution.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (python,) = re.findall(r'requires-python = ">=([\d.]+)"', project)
    (torch,) = re.findall(r'"torch>=([\d.]+)"', project)
    assert [r for r in results if r["python"].startswith(f"{python}.") and r["torch"].startswith(f"{torch}.")]
    assert all(result["passed"] > 1000 or "interpreted" in result["kind"] for result in results)
    assert sum(result["failed"] for result in results) == 0


def test_rows_are_in_the_order_of_versions() -> None:
    made: dict[str, Any] = {"date": "2024-01-31", "commit": "abc", "command": "c", **vars(OUTCOME)}
    rows = compatibility.table([made, made | {"torch": "2.13.0"}, made | {"python": "3.9.1"}]).splitlines()[2:5]
    assert [row.split(" | ")[:2] for row in rows] == [
        ["| 3.9.1", "2.7.0+cu126"],
        ["| 3.10.4", "2.7.0+cu126"],
        ["| 3.10.4", "2.13.0"],
    ]


@pytest.mark.parametrize("results", [[], [{"python": "3.10"}], [3]])
def test_a_broken_record_is_told(results: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"compatibility\.json"):
        compatibility.table(results)


def test_a_page_holds_the_block_once() -> None:
    made = {"date": "2024-01-31", "commit": "abc", "command": "c", **vars(OUTCOME)}
    with pytest.raises(ValueError, match="there are 0"):
        compatibility.filled("nothing", [made])


@pytest.mark.slow
def test_the_sdist_holds_the_library_and_its_tests(tmp_path: Path) -> None:
    copy_tree(tmp_path / "tree")
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, tmp_path / "tree"]
    subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=120)
    (file,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames() if archive.getmember(name).isfile()}
    tree = tmp_path / "tree"
    for folder in ("gaussian_moe", "kernels", "tests/gaussian_moe", "tests/kernels", "tests/golden"):
        files = {str(path.relative_to(tree)) for path in (tree / folder).rglob("*") if path.is_file()}
        wanted = {name for name in files if not name.startswith("gaussian_moe/kernels/")}
        assert len(wanted) > 5
        assert wanted - names == set()
    assert {"LICENSE", "CHANGELOG.md", "README.md", "CITATION.cff", "constraints.txt", "tests/conftest.py"} <= names
    assert {name for name in names if name.startswith(("examples/", "docs/", "benchmarks/", "tests/tree/"))} == {
        "docs/package.md",
        "examples/__init__.py",
        "examples/avqa/__init__.py",
        "examples/avqa/checkpoint.py",
    }
    assert file.stat().st_size < 3 * 2**20
