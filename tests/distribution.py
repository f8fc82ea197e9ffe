"""Builds sdist and wheel, checks both, and tests each where this tree is not: `python -m tests.distribution`.

It needs Python's own library, and `build`, `twine` and `check-wheel-contents` for what it builds. What a summary line
says was tested is the installed package: tests lie in a folder without `gaussian_moe`, in a new virtual environment.

- The wheel's environment takes every dependency and extra of the library from the index, as a user's would.
- The sdist's environment installs the sdist alone, built in isolation, and reads the dependencies of the wheel's: they
  are the same ones, and PyTorch is large. What it installs must be the wheel's files to the last byte, so what was
  tested of the wheel holds for it. With `--only sdist` dependencies are installed there, and the tests run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.distribution_record import Outcome, add, commit

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = "hub,onnx,plot"
"""The extras that are the library's, not the example's."""
TOOLS = ("hypothesis", "numpy", "pytest", "pytest-xdist")
TESTED = ("tests/gaussian_moe", "tests/kernels")
KERNELS = ("tests/kernels",)
NEW = {"PYTHONNOUSERSITE": "1", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
INTERPRET = {"TRITON_INTERPRET": "1"}
INTERPRETED = "{}, kernels interpreted"
FAST = "not slow and not gpu"
NEEDED = ("tests", "examples", "pyproject.toml")
"""What the tests need of an unpacked sdist. None of it holds the library."""
NEWEST = "newest"
"""In place of a version of torch: whichever pip takes."""
EVERY = 20.0
"""Seconds between two signs of life."""
WHERE = """
import importlib.metadata, json, pathlib, platform, sysconfig
import torch, gaussian_moe, gaussian_moe.kernels
site = pathlib.Path(sysconfig.get_path("purelib")).resolve()
for module in (gaussian_moe, gaussian_moe.kernels):
    file = pathlib.Path(module.__file__).resolve()
    assert file.is_relative_to(site), f"{file} is not in {site}"
version = importlib.metadata.version("gaussian-moe")
assert version == gaussian_moe.__version__, f"metadata say {version}, the package {gaussian_moe.__version__}"
try:
    triton = importlib.metadata.version("triton")
except importlib.metadata.PackageNotFoundError:
    triton = "none"
print(json.dumps({
    "version": version, "python": platform.python_version(), "torch": torch.__version__, "triton": triton,
    "platform": f"{platform.system()} {platform.machine()}",
}))
"""
"""Fails unless the installed package is the one that is imported; prints with what."""


class Failed(Exception):
    """A step went wrong; the message says which, with the end of its output."""


@dataclass(frozen=True)
class Options:
    """What was asked for; `torch` is "" for whatever the constraints pin."""

    only: str
    python: str
    torch: str
    interpreter: bool
    workers: int
    folder: Path
    started: float

    def say(self, text: str) -> None:
        """A line of progress, with the seconds so far."""
        print(f"[{time.monotonic() - self.started:4.0f} s] {text}", flush=True)

    def run(
        self,
        what: str,
        command: Sequence[str | Path],
        folder: Path | None = None,
        environment: Mapping[str, str] = NEW,
    ) -> str:
        """Runs a step, says now and then that it still does, and returns its standard output.

        Raises:
            Failed: it exits with another code than 0.
        """
        self.say(what)
        log = self.folder / "logs" / f"{len(list((self.folder / 'logs').iterdir())):02}.txt"
        # What the calling shell sets would reach into an environment that is to be new.
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "TRITON_INTERPRET")}
        with log.open("w+", encoding="utf-8") as output:
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=folder or self.folder,
                env={**kept, **NEW, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                while True:
                    try:
                        code = process.wait(timeout=EVERY)
                        break
                    except subprocess.TimeoutExpired:
                        done = re.findall(r"\[ *(\d+ ?%)\]", log.read_text(encoding="utf-8"))
                        self.say(f"  ... still {what}{f': {done[-1]}' if done else ''}")
            finally:
                process.kill()
        text = log.read_text(encoding="utf-8")
        if code:
            raise Failed(f"{what}: exit code {code}\n{text[-6000:]}")
        return text


def copy_tree(target: Path) -> None:
    """What git knows of this tree, and new files that it does not ignore: no build folder, no cache, no data."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failed(f"{ROOT} is no git clone ({error}); build there and give the folder as --dist") from error
    for name in filter(None, listed.split("\0")):
        source, copy = ROOT / name, target / name
        if source.is_symlink() or source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)


def built(options: Options) -> Path:
    """A folder with sdist and wheel. The wheel is made from the sdist, both in isolation."""
    tree, dist = options.folder / "tree", options.folder / "dist"
    copy_tree(tree)
    options.run("building the sdist, and the wheel from it", [sys.executable, "-m", "build", "--outdir", dist, tree])
    return dist


def one(dist: Path, pattern: str) -> Path:
    """The only file of a kind."""
    found = sorted(dist.glob(pattern))
    if len(found) != 1:
        raise Failed(f"{dist} must hold one {pattern}, it holds {len(found)}; run `make dist`")
    return found[0]


def check(options: Options, sdist: Path, wheel: Path) -> None:
    """Metadata, description and contents."""
    python = sys.executable
    options.run("twine check --strict", [python, "-m", "twine", "check", "--strict", sdist, wheel])
    options.run("check-wheel-contents", [python, "-m", "check_wheel_contents", wheel])


def unpacked(options: Options, sdist: Path) -> Path:
    """The sdist's only folder."""
    target = options.folder / "unpacked"
    with tarfile.open(sdist) as archive:
        # The filter is in every Python that the library supports, in its latest patch releases.
        if hasattr(tarfile, "data_filter"):
            archive.extractall(target, filter="data")
        else:
            archive.extractall(target)
    (source,) = target.iterdir()
    return source


def constraints(options: Options, source: Path) -> Path:
    """The sdist's constraints.txt, with the torch that was asked for in place of its own ("newest": none)."""
    lines = (source / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if options.torch:
        lines = [line for line in lines if not line.startswith("torch==")]
        lines += [f"torch=={options.torch}"] if options.torch != NEWEST else []
    file = options.folder / "constraints.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def installed(options: Options, archive: Path, source: Path, dependencies: Path | None) -> Path:
    """A new environment with a wheel or an sdist in it; returns its Python."""
    kind = "wheel" if archive.suffix == ".whl" else "sdist"
    environment = options.folder / f"environment-{kind}"
    options.run(f"{kind}: a new environment", [options.python, "-m", "venv", environment])
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    install: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--no-compile"]
    if dependencies is None:
        limits = constraints(options, source)
        command = [*install, "-c", limits, f"{archive}[{EXTRAS}]", *TOOLS]
        options.run(f"{kind}: installing it with {EXTRAS.replace(',', ', ')} and its dependencies", command)
    else:
        (site_packages(python) / "dependencies.pth").write_text(f"{site_packages(dependencies)}\n", encoding="utf-8")
        # Without --ignore-installed pip would find the wheel's environment through the line above and do nothing.
        options.run(f"{kind}: installing it alone", [*install, "--no-deps", "--ignore-installed", archive])
    return python


def site_packages(python: Path) -> Path:
    """Where that Python's packages are installed."""
    command = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


def package(python: Path) -> Path:
    """Where that Python's environment has the library."""
    return site_packages(python) / "gaussian_moe"


def same_files(first: Path, second: Path) -> int:
    """How many files two folders hold, which are to be the same.

    Raises:
        Failed: there is none, one folder lacks a file, or one differs.
    """
    one, other = (
        {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.suffix != ".pyc" and path.is_file()
        }
        for folder in (first, second)
    )
    differing = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    if differing or not one:
        raise Failed(f"{second} does not hold the files of {first}: {', '.join(differing[:10]) or 'there are none'}")
    return len(one)


def tested(options: Options, archive: Path, python: Path, source: Path) -> list[Outcome]:
    """The library's fast tests on what is installed, from a folder that has nothing else of the tree."""
    kind = "wheel" if archive.suffix == ".whl" else "sdist"
    folder = options.folder / f"tests-{kind}"
    folder.mkdir()
    for name in NEEDED:
        copy = shutil.copytree if (source / name).is_dir() else shutil.copy
        copy(source / name, folder / name)
    found = json.loads(options.run(f"{kind}: what is imported", [python, "-c", WHERE], folder).splitlines()[-1])
    runs: list[tuple[str, str, Sequence[str], Mapping[str, str]]] = []
    runs.append(
        (f"{kind}: the library's tests with Python {found['python']}, torch {found['torch']}", kind, TESTED, {})
    )
    if options.interpreter:
        runs.append((f"{kind}: the kernels in Triton's interpreter", INTERPRETED.format(kind), KERNELS, INTERPRET))
    return [
        _tests(options, what, python, folder, paths, environment, {"kind": named, **found})
        for what, named, paths, environment in runs
    ]


def _tests(
    options: Options,
    what: str,
    python: Path,
    folder: Path,
    paths: Sequence[str],
    environment: Mapping[str, str],
    found: dict[str, str],
) -> Outcome:
    """One run of pytest."""
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    pytest: list[str | Path] = [
        python,
        "-m",
        "pytest",
        "-n",
        str(options.workers),
        "-m",
        FAST,
        f"--junitxml={report}",
        *paths,
    ]
    began, failure = time.monotonic(), ""
    try:
        options.run(what, pytest, folder, environment)
    except Failed as error:
        failure = str(error)
    if not report.exists():
        raise Failed(failure)
    passed, failed, skipped = counted(report)
    if failure:
        print(failure, file=sys.stderr)
    if not passed and not failed:
        raise Failed(f"{what}: no test ran")
    # pytest can fail where no test does.
    failed = max(failed, int(bool(failure)))
    return Outcome(**found, passed=passed, failed=failed, skipped=skipped, seconds=round(time.monotonic() - began))


def counted(report: Path) -> tuple[int, int, int]:
    """How many tests passed, failed (errors too) and were skipped, from a JUnit report."""
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    total, failures, errors, skipped = (
        sum(int(suite.get(name, 0)) for suite in suites) for name in ("tests", "failures", "errors", "skipped")
    )
    return total - failures - errors - skipped, failures + errors, skipped


def distribution(options: Options, dist: Path | None, out: Path | None) -> list[Outcome]:
    """Builds where there is no `dist`, checks, and tests what was asked for."""
    folder = built(options) if dist is None else dist
    sdist, wheel = one(folder, "*.tar.gz"), one(folder, "*.whl")
    if dist is None:
        check(options, sdist, wheel)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for old in (*out.glob("*.tar.gz"), *out.glob("*.whl")):
            old.unlink()
        for file in (sdist, wheel):
            shutil.copy(file, out)
    outcomes: list[Outcome] = []
    source = unpacked(options, sdist)
    first: Path | None = None
    for archive in (wheel, sdist):
        if options.only in ("", "wheel" if archive is wheel else "sdist"):
            python = installed(options, archive, source, first)
            if first is None:
                outcomes += tested(options, archive, python, source)
                first = python
            else:
                count = same_files(package(first), package(python))
                options.say(f"sdist: its {count} files are those of the wheel, to the last byte")
    print(f"\n{sdist.name}: {sdist.stat().st_size / 2**20:.2f} MB")
    print(f"{wheel.name}: {wheel.stat().st_size / 2**20:.2f} MB")
    return outcomes


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.distribution", description=__doc__.split("\n\n")[0])
    parser.add_argument("--python", default=sys.executable, help="what makes the new environments (default: this one)")
    parser.add_argument("--torch", default="", help='a version, or "newest" (default: what constraints.txt pins)')
    parser.add_argument("--only", choices=["checks", "wheel", "sdist"], default="", help="test that alone, or nothing")
    parser.add_argument("--dist", type=Path, help="test the sdist and wheel of this folder, and build nothing")
    parser.add_argument("--out", type=Path, help="keep what is built in this folder")
    parser.add_argument("--interpreter", action="store_true", help="test the kernels in Triton's interpreter, too")
    parser.add_argument("--workers", type=int, default=2, help="tests at a time (default: 2)")
    parser.add_argument("--record", type=Path, help="add the result to this file, such as docs/compatibility.json")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Runs it; one line for each part, and 1 where anything failed."""
    asked = arguments(given)
    python = shutil.which(asked.python)
    if python is None:
        print(f"error: --python {asked.python} is not there", file=sys.stderr)
        return 2
    # Before anything is built: the tree may move on meanwhile.
    tree = commit(ROOT)
    with tempfile.TemporaryDirectory(prefix="gaussian-moe-") as name:
        folder = Path(name).resolve()
        (folder / "logs").mkdir()
        # Absolute, but not resolved: a virtual environment's Python is a link.
        chosen = (asked.only, str(Path(python).absolute()), asked.torch, asked.interpreter, asked.workers)
        options = Options(*chosen, folder, time.monotonic())
        try:
            outcomes = distribution(options, asked.dist and asked.dist.resolve(), asked.out)
        except Failed as error:
            print(f"\nfailed: {error}", file=sys.stderr)
            return 1
        options.say("done")
    for outcome in outcomes:
        print(outcome.line())
        if asked.record:
            add(asked.record, outcome, tree, asked.torch)
    return int(any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
