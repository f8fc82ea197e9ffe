"""What a test of a built package found, and the file in which such results are kept."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

LIBRARY = ("gaussian_moe", "kernels", "pyproject.toml", "tests/gaussian_moe", "tests/kernels")
"""What a result depends on."""


@dataclass(frozen=True)
class Outcome:
    """One kind of package, tested in one environment. Versions are those that were imported."""

    kind: str
    version: str
    python: str
    torch: str
    triton: str
    platform: str
    passed: int
    failed: int
    skipped: int
    seconds: int

    def line(self) -> str:
        """The summary."""
        word = "FAILED" if self.failed else "passed"
        return (
            f"{self.kind} {self.version} {word}: Python {self.python}, torch {self.torch}, triton {self.triton}: "
            f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped in {self.seconds} s"
        )


def commit(root: Path) -> str:
    """The tree's commit, `-dirty` where what is tested differs from it, "unknown" outside a clone."""
    try:
        name = _git(root, "rev-parse", "--short", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", *LIBRARY)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{name}-dirty" if changed else name


def add(path: Path, outcome: Outcome, tree: str, torch: str) -> None:
    """Writes the result into the file, in place of an older one with the same kind, Python and torch."""
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    minor = ".".join(outcome.python.split(".")[:2])
    kind, _, interpreted = outcome.kind.partition(", ")
    command = f"python -m tests.distribution --python python{minor}{f' --torch {torch}' if torch else ''} --only {kind}"
    new = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "commit": tree,
        "command": f"{command}{' --interpreter' if interpreted else ''}",
        **asdict(outcome),
    }
    same = ("kind", "python", "torch")
    results = [old for old in results if any(old[name] != new[name] for name in same)] + [new]
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    part.replace(path)


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()
