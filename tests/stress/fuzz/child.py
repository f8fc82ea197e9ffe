"""A process of its own that tries inputs in turn: one that crashes, hangs or fills the memory ends it alone."""

from __future__ import annotations

import multiprocessing
import os
import resource
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from .judge import SECONDS, Trial, tried
from .parser import Files, Parser

_LARGEST = 32 << 20
_SPARE = 256 << 20
"""Address space beyond the bound: what is mapped need not be in memory."""


class Child:
    """Tries inputs; a new process is made where one ended.

    Args:
        parser: what is attacked.
        folder: an empty folder.
    """

    def __init__(self, parser: Parser, folder: Path) -> None:
        self._parser, self._folder = parser, folder
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None
        self._made = 0

    def try_(self, files: Files) -> Trial:
        """One input."""
        # A file that grew beyond that is cut off, which is a broken file, too.
        files = {name: content[:_LARGEST] for name, content in files.items()}
        trial = self._once(files)
        # What is mapped and not given back adds up, and at last there is no room to receive an input.
        return self._once(files) or Trial("fault", "no room for the input", 0.0, 0) if trial is None else trial

    def _once(self, files: Files) -> Trial | None:
        """None where the process had ended before it had the input; there is a new one next time."""
        if self._process is None:
            self._start()
        assert self._pipe is not None
        assert self._process is not None
        try:
            self._pipe.send(dict(files))
        except BrokenPipeError:
            self.close()
            return None
        # The process sets its own clock too late where a library holds the interpreter.
        if not self._pipe.poll(SECONDS):
            self.close()
            return Trial("fault", f"no answer in {SECONDS:g} s", SECONDS, 0)
        try:
            trial: Trial | None = self._pipe.recv()
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            self.close()
            return Trial("fault", f"the process ended with {code}", 0.0, 0)
        if trial is None:
            self.close()
        return trial

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None and self._pipe is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
        self._process = self._pipe = None

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self._made += 1
        folder = self._folder / f"child-{self._made}"
        folder.mkdir(parents=True)
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self._parser, folder, theirs), daemon=True)
        self._process.start()
        theirs.close()


def _serve(parser: Parser, folder: Path, pipe: Connection) -> None:
    # Threads do not live through a fork.
    torch.set_num_threads(1)
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    limit = _address_space() + parser.memory + _SPARE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            files = pipe.recv()
        except MemoryError:
            pipe.send(None)
            return
        pipe.send(tried(parser, files, folder))


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
