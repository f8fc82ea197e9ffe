"""Runs a page from top to bottom, as its reader would.

- `python` blocks run in order in one namespace, in a folder of their own; with `>>>`, and as `pycon`, their output is
  compared. A `text` block directly under a block is what that block prints, `...` standing for anything.
- A block with `title="FILE"` is written to that file.
- `bash` blocks run where the page is one to work through (`runs_shell`); elsewhere their commands are read by the
  programs that they name. `yaml` and `json` must load.
- Whatever else looks like commands wants a language or a mark; see `blocks`.

Faults are `PageError`s: page, line and what is wrong.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from sybil import Document, Example
from sybil.evaluators.doctest import DocTestEvaluator, OutputChecker
from sybil.parsers.abstract.doctest import DocTestStringParser

from .blocks import Block, PageError, parsed
from .commands import ROOT, check_commands

PLAIN = {"text", "math", "bibtex", "diff"}
"""Languages with nothing to run."""
COMMAND_WORDS = {"python", "python3", "pip", "make", "git", "cd", "export", "torchrun", "srun", "sbatch", "pytest", "$"}
MODULE = "page_under_test"


def pages() -> list[Path]:
    """Every page that has blocks to run, from the repository's root."""
    found = [*ROOT.glob("docs/**/*.md"), *ROOT.glob("kernels/*/README.md")]
    return sorted(path.relative_to(ROOT) for path in [*found, ROOT / "README.md", ROOT / "CONTRIBUTING.md"])


def runs_shell(page: Path) -> bool:
    """Whether the shell blocks of this page are run."""
    return page.parts[:2] == ("docs", "tutorials") or page == Path("docs/start.md")


def document(page: Path) -> Document:
    """A page of the repository, parsed."""
    return parsed((ROOT / page).read_text(encoding="utf-8"), str(page))


def blocks(page: Path) -> list[Block]:
    """Those of a page of the repository, in order."""
    return [region.parsed for _, region in document(page).regions]


@dataclass
class PageRun:
    """One page on its way through, in a folder of its own.

    Args:
        folder: an empty folder; what the page writes stays there.
        shell: whether shell blocks are run.
    """

    folder: Path
    shell: bool = False
    printed: str | None = None
    """What the block above printed; None where nothing was run."""
    not_run: list[str] = field(default_factory=list)
    """Place and reason of each block that was left out."""

    def run(self, page: Document) -> None:
        """Runs every block.

        Raises:
            PageError: the first fault.
        """
        module = types.ModuleType(MODULE)
        sys.modules[MODULE] = module
        page.namespace = vars(module)
        try:
            with _within(self.folder):
                for example in page:
                    self._block(example)
        finally:
            del sys.modules[MODULE]

    def _block(self, example: Example) -> None:
        block: Block = example.parsed
        above, self.printed = self.printed, None
        if block.not_run is not None:
            self.not_run.append(f"{example.path}:{block.line}: {block.not_run}")
            return
        try:
            if block.language == "text" and block.follows and above is not None:
                _compare(block.source, above)
            elif block.title is not None:
                self._write(block)
            elif block.language == "pycon" or block.source.lstrip().startswith(">>>"):
                self._doctest(example, block)
            elif block.language == "python":
                self._python(example, block)
            elif block.language == "bash":
                self._bash(block)
            else:
                _check_plain(block)
        except PageError:
            raise
        except Exception as error:
            raise PageError(example.path, block.line, f"{type(error).__name__}: {error}") from error

    def _write(self, block: Block) -> None:
        path = (self.folder / str(block.title)).resolve()
        if self.folder.resolve() not in path.parents:
            raise ValueError(f"title={block.title!r} is outside the folder in which the page runs")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.source, encoding="utf-8")

    def _python(self, example: Example, block: Block) -> None:
        code = compile(block.padded(), str(ROOT / example.path), "exec", dont_inherit=True)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, example.namespace)  # our own text
        self.printed = printed.getvalue()

    def _doctest(self, example: Example, block: Block) -> None:
        evaluator = DocTestEvaluator(doctest.ELLIPSIS)
        for region in DocTestStringParser(evaluator)(block.source, example.path):
            line = block.line + 1 + region.parsed.lineno
            difference = evaluator(Example(example.document, line, 1, region, example.namespace))
            if difference:
                raise PageError(example.path, line, difference)

    def _bash(self, block: Block) -> None:
        if not self.shell:
            check_commands(block.source, self.folder)
            return
        # A function, as a link to the interpreter would lose its virtual environment.
        script = f'python() {{ "{sys.executable}" "$@"; }}\nset -euo pipefail\n{block.source}'
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode != block.exits:
            last = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
            raise ValueError(f"ended with status {done.returncode}, not {block.exits}:\n{last}")
        self.printed = done.stdout


@contextlib.contextmanager
def _within(folder: Path) -> Iterator[None]:
    """The working directory and the environment are put back behind a page."""
    before, environment = Path.cwd(), dict(os.environ)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(environment)


def _compare(wanted: str, printed: str) -> None:
    if not OutputChecker().check_output(wanted, printed, doctest.ELLIPSIS):
        raise ValueError(f"the page shows\n{wanted}\nand the block above it printed\n{printed}")


def _check_plain(block: Block) -> None:
    if block.language == "yaml":
        yaml.safe_load(block.source)
    elif block.language == "json":
        json.loads(block.source)
    elif block.language and block.language not in PLAIN:
        raise ValueError(f"no block in {block.language!r} is checked here; write bash or text, or mark it as not run")
    elif not block.language and _looks_like_commands(block.source):
        raise ValueError("a block of commands without a language: write ```bash, or mark it as not run")


def _looks_like_commands(source: str) -> bool:
    first = (line.split()[0] for line in source.splitlines() if line.strip())
    return any(word in COMMAND_WORDS or word.startswith(("./", "$ ")) for word in first)
