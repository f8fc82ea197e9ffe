"""Runs pytest again and again on a tree that changes, without importing PyTorch anew: a fork for each run.

Started by path, so that nothing of this tree is imported before a fork. One request a line on the standard input, one
answer a line on the standard output, both JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

import hypothesis  # noqa: F401  # what every run would import
import numpy as np  # noqa: F401  # likewise
import pytest
import torch
import torch._dynamo

torch.set_num_threads(1)


class Watch:
    """What the run that is watched found: outcomes, seconds and, with coverage, the lines of each test."""

    def __init__(self, sources: list[str]) -> None:
        self.failed, self.seconds = list[str](), dict[str, float]()
        self.coverage: Any = None
        if sources:
            import coverage

            self.coverage = coverage.Coverage(data_file=None, include=[f"{source}/*" for source in sources])
            self.coverage.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if self.coverage is not None:
            self.coverage.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)

    def found(self, root: str) -> dict[str, Any]:
        """The answer."""
        lines: dict[str, dict[int, list[str]]] = {}
        if self.coverage is not None:
            self.coverage.stop()
            data = self.coverage.get_data()
            for file in data.measured_files():
                contexts = data.contexts_by_lineno(file)
                name = os.path.relpath(os.path.realpath(file), root)
                lines[name] = {line: [each for each in tests if each] for line, tests in contexts.items()}
        return {"failed": self.failed, "seconds": self.seconds, "lines": lines}


def child(request: dict[str, Any], answer: int) -> None:
    """Runs the tests in the tree, and exits."""
    os.setsid()
    sink = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    os.chdir(request["root"])
    sys.path.insert(0, request["root"])
    sys.dont_write_bytecode = True
    watch = Watch(request["cover"])
    code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *request["arguments"]], plugins=[watch]))
    found = json.dumps({"code": code, **watch.found(request["root"])})
    with os.fdopen(answer, "w") as pipe:
        pipe.write(found)
    os._exit(0)


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Runs one request in a fork. One that takes too long is killed, with all that it started."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            child(request, writing)
        finally:
            os._exit(3)
    os.close(writing)
    os.set_blocking(reading, False)
    text, until = b"", time.monotonic() + request["seconds"]
    while time.monotonic() < until:
        try:
            piece = os.read(reading, 1 << 16)
        except BlockingIOError:
            time.sleep(0.02)
            continue
        if not piece:
            break
        text += piece
    else:
        os.killpg(pid, signal.SIGKILL)
    os.close(reading)
    os.waitpid(pid, 0)
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError:
        return {"code": -1, "failed": [], "seconds": {}, "lines": {}}
    return found


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
