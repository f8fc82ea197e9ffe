"""A process that judges files, started anew where a file killed it or made it hang."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from .video_judge import Verdict

PATIENCE_S = 10.0
"""How long a file may be read without progress, in seconds of one core: others may use the machine, too."""
_ASLEEP = 12
"""So many times as long by the clock: a process may wait without computing."""


class Judge:
    """The process `python -m tests.stress.video_judge`.

    Args:
        patience: after so many seconds of computing without a sign of life the process is ended.
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
            heard, computed = time.monotonic(), _computed(process.pid)
            while True:
                if not selector.select(self._patience / 4):
                    is_stuck = _computed(process.pid) - computed > self._patience
                    if is_stuck or time.monotonic() - heard > _ASLEEP * self._patience:
                        break
                    continue
                line = process.stdout.readline()
                heard, computed = time.monotonic(), _computed(process.pid)
                if not line:
                    process.wait()
                    return Verdict(f"the process died ({self.end()})", None, 0, 0)
                if line != b".\n":
                    return Verdict(**json.loads(line))
        self.end()
        return Verdict(f"no progress for {self._patience:g} s", None, 0, self._patience)


def _computed(process: int) -> float:
    """Seconds of one core that a process has used; where the system does not say, by the clock."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return time.monotonic()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
