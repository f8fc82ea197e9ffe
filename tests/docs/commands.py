"""Command lines that a page shows and that are not run: each is read as the program itself would read it."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import benchmarks.__main__ as benchmarks
from examples.avqa.cli import COMMANDS, _underscored, command_parser

ROOT = Path(__file__).resolve().parents[2]
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
STAND_INS = {"test": "music_avqa_r_head.yaml", "concert": "demo_concerts.yaml"}
"""By command, what is read in place of the reader's own config, which a page calls CONFIG.yaml; else demo.yaml."""
NO_RUN_MARK = "; mark the block with <!-- not run: REASON -->, or write what can be checked"


def check_commands(source: str, folder: Path) -> None:
    """Reads every command of a shell block.

    Args:
        source: the block.
        folder: where files lie that the page told its reader to save.

    Raises:
        ValueError: a command that its program would refuse, or one that nothing here can read.
    """
    for words in commands(source):
        _check(words, folder)


def commands(source: str) -> list[list[str]]:
    """The words of each command, without comments, assignments in front and what the shell does with its output."""
    found = []
    for line in source.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if not word or set(word) - set(";&|"):
                words.append(word)
                continue
            while words and ASSIGNMENT.match(words[0]):
                words.pop(0)
            if words:
                found.append(words)
            words = []
    return found


def _check(words: Sequence[str], folder: Path) -> None:
    match list(words):
        case ["make", *arguments]:
            _check_make(arguments)
        case ["pip", "install", *arguments]:
            _check_pip(arguments)
        case ["cd", _]:
            pass
        case ["python", "-m", "benchmarks", *arguments]:
            _read("benchmarks", arguments, lambda: benchmarks._parser().parse_args(arguments))
        case ["python", "-m", "pytest", *arguments]:
            _check_pytest(arguments)
        case ["python", "-m", module, *arguments] if module != "examples.avqa" and _source(module) is not None:
            _check_module(module, arguments)
        case [_, *_] if "examples.avqa" in words:
            # Also behind torchrun and srun.
            _check_avqa(words[words.index("examples.avqa") + 1 :], folder)
        case _:
            raise ValueError(f"`{' '.join(words)}` is no command that can be read here{NO_RUN_MARK}")


def _check_avqa(words: Sequence[str], folder: Path) -> None:
    name, arguments = (words[0], words[1:]) if words else ("", [])
    if name not in COMMANDS:
        raise ValueError(f"examples.avqa has no command {name!r}; there are {', '.join(COMMANDS)}")
    given = _with_configs(name, [_underscored(argument) for argument in arguments], folder)
    _read(name, given, lambda: command_parser(name).parse_args(given))


def _source(module: str) -> str | None:
    """The text of one of the repository's own programs."""
    path = ROOT / module.replace(".", "/")
    for file in (path.with_suffix(".py"), path / "__main__.py"):
        if file.is_file():
            return file.read_text(encoding="utf-8")
    return None


def _check_module(module: str, arguments: Sequence[str]) -> None:
    for argument in arguments:
        if argument.startswith("-") and f'"{argument.partition("=")[0]}"' not in (_source(module) or ""):
            raise ValueError(f"{module} has no option {argument}")


def _check_pytest(arguments: Sequence[str]) -> None:
    for argument in arguments:
        if argument.startswith("tests/") and not (ROOT / argument.partition("::")[0]).exists():
            raise ValueError(f"there is no {argument}")


def _read(name: str, arguments: Sequence[str], read: Callable[[], object]) -> None:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            read()
    except SystemExit as stopped:
        if stopped.code:
            reason = said.getvalue().strip().splitlines()[-1]
            raise ValueError(f"{name} refuses `{' '.join(arguments)}`: {reason}") from None


def _with_configs(name: str, arguments: list[str], folder: Path) -> list[str]:
    """Paths of configs as they are from the repository's root, or where the page's reader saved them."""
    for place, argument in enumerate(arguments[:-1]):
        if argument != "--config":
            continue
        given = Path(arguments[place + 1])
        if given.stem.isupper():
            given = Path("examples/avqa/configs") / STAND_INS.get(name, "demo.yaml")
        paths = [path for path in (folder / given, ROOT / given) if path.is_file()]
        if not paths:
            raise ValueError(f"there is no config {given}")
        arguments[place + 1] = str(paths[0])
    return arguments


def _check_make(arguments: Sequence[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE))
    variables = set(re.findall(r"^([A-Z_]+) [?:]?=", makefile, re.MULTILINE))
    for argument in arguments:
        name, assigned, _ = argument.partition("=")
        if name not in (variables if assigned else targets):
            raise ValueError(f"the Makefile has no {'variable' if assigned else 'target'} {name!r}")


def _check_pip(arguments: Sequence[str]) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    extras = re.findall(r"^(\w+) = \[", section, re.MULTILINE)
    for argument in arguments:
        own = re.fullmatch(r"(?:\.|gaussian-moe)\[([\w,-]+)\]", argument)
        for extra in own[1].split(",") if own else []:
            if extra not in extras:
                raise ValueError(f"the package has no extra {extra!r}; there are {', '.join(extras)}")
