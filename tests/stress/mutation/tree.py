"""A copy of what the library's tests need, whose files are changed one at a time, and the process that tests it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from .mutants import Mutant

ROOT = Path(__file__).resolve().parents[3]
NEEDED = ("gaussian_moe", "kernels", "tests", "examples", "benchmarks", "pyproject.toml")
SERVER = Path(__file__).with_name("server.py")


@dataclass(frozen=True)
class Ended:
    """How a run of pytest ended."""

    code: int
    """pytest's; -1 for one that was killed."""
    failed: tuple[str, ...]
    seconds: Mapping[str, float]
    lines: Mapping[str, Mapping[int, Sequence[str]]]
    """File and line -> the tests that ran it; {} unless asked for."""


class Tree:
    """A copy in a folder, with processes that run tests in it.

    Args:
        folder: an empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.root, self._log = folder / "tree", folder / "log.txt"
        ignored = shutil.ignore_patterns("__pycache__", "recorded", "corpus")
        for name in NEEDED:
            source, copy = ROOT / name, self.root / name
            if source.is_dir():
                shutil.copytree(source, copy, symlinks=True, ignore=ignored)
            else:
                shutil.copy(source, copy)
        self._servers = dict[bool, subprocess.Popen[str]]()

    def __enter__(self) -> Tree:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._servers.values():
            process.kill()
            process.wait()

    def run(self, arguments: Sequence[str], interpreted: bool, seconds: float, cover: bool = False) -> Ended:
        """Runs pytest until the first failure.

        Args:
            arguments: tests, and options.
            interpreted: whether Triton's interpreter runs the kernels.
            seconds: after which it is killed.
            cover: whether to say which test runs which line.
        """
        request = {
            "root": str(self.root),
            "log": str(self._log),
            "arguments": list(arguments),
            "seconds": seconds,
            "cover": [str(self.root / name) for name in ("gaussian_moe", "kernels")] if cover else [],
        }
        server = self._server(interpreted)
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        answer: dict[str, Any] = json.loads(server.stdout.readline())
        lines = {file: {int(line): tests for line, tests in each.items()} for file, each in answer["lines"].items()}
        return Ended(answer["code"], tuple(answer["failed"]), answer["seconds"], lines)

    def _server(self, interpreted: bool) -> subprocess.Popen[str]:
        # Triton asks when it is imported whether to interpret, so each way has its own process.
        if interpreted not in self._servers:
            kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
            self._servers[interpreted] = subprocess.Popen(
                [sys.executable, str(SERVER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=self.root.parent,
                env=kept | ({"TRITON_INTERPRET": "1"} if interpreted else {}),
            )
        return self._servers[interpreted]

    def log(self) -> str:
        """What the last run printed."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def change(self, mutant: Mutant) -> None:
        """Puts a mutant in the place of its file."""
        self._write(mutant.file, mutant.applied((ROOT / mutant.file).read_bytes()))

    def restore(self, mutant: Mutant) -> None:
        """Puts the file back."""
        self._write(mutant.file, (ROOT / mutant.file).read_bytes())

    def _write(self, file: str, content: bytes) -> None:
        (self.root / file).write_bytes(content)
