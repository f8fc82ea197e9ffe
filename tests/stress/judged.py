"""A process that judges files, started anew where a file killed it or made it hang."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from .video_judge import Verdict

PATIENCE_S = 10.0
"""How long a file may be read without progress."""


class Judge:
    """The process `python -m tests.stress.video_judge`.

    Args:
        patience: how many seconds without a sign of life are waited for.
    """

    def __init__(self, patience: float = PATIENCE_S) -> None:
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Judge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> int | None:
        """Ends the process; returns how it had ended by itself, if it had."""
        if self._process is None:
            return None
        process, self._process = self._process, None
        code = process.poll()
        process.kill()
        process.communicate()
        return code

    def __call__(self, path: Path) -> Verdict:
        """The verdict on a file; a dead or silent process is one, too."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.stress.video_judge"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # A line that waits in a buffer would look like silence.
                bufsize=0,
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{path}\n".encode())
        process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while selector.select(self._patience):
                line = process.stdout.readline()
                if not line:
                    process.wait()
                    return Verdict(f"the process died ({self.end()})", None, 0, 0)
                if line != b".\n":
                    return Verdict(**json.loads(line))
        self.end()
        return Verdict(f"no progress for {self._patience:g} s", None, 0, self._patience)
