"""The command line: one subcommand a function, its options the function's arguments, YAML files with --config."""

from __future__ import annotations

import importlib
import inspect
import os
import signal
import sys
from argparse import SUPPRESS, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, get_type_hints

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

from .config_file import check_config
from .errors import UserError, forget_frames, is_dead_worker, one_line, told
from .signals import received, stoppable
from .typed import nulls


class _Formatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Leaves the paragraphs of a command's description as they are."""


class _Parser(ArgumentParser):
    """Says what is wrong in one line, as everything here does."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints it and ends with code 2."""
        print(f"error: {one_line(' '.join(message.split()))}; {self.prog} --help tells the options", file=sys.stderr)
        sys.exit(2)


class Command(NamedTuple):
    """Where a command's function is. Its module is imported only when the command is given."""

    module: str
    function: str
    summary: str
    positional: bool = False
    """Whether required arguments are given by place instead of by name."""
    resumes: bool = True
    """Whether the same command goes on where it was stopped."""
    unused: tuple[str, ...] = ()
    """Sections that a shared YAML config may hold, and this command has no use for."""
    several: str = ""
    """The argument that takes everything given by place; the description tells of it."""


COMMANDS = {
    "concert": Command("concert.build", "concert", "render the built-in data set of concerts, with annotations"),
    "extract": Command("extract", "extract", "turn a folder of videos into features"),
    "pack": Command("pack", "pack", "turn a feature folder into one memory-mapped, half-precision store"),
    "check": Command(
        "check",
        "check",
        "one table of what the data holds, what it lacks, and what of it is broken",
        resumes=False,
        unused=("model", "optimizer", "trainer", "seed", "seeds", "systems", "jobs", "record", "if_finished"),
    ),
    "fit": Command("fit", "fit", "train QA-TIGER, one of its ablations, or TSPM"),
    "test": Command(
        "testing",
        "test",
        "test a trained model or released weights, with the table by question type",
        resumes=False,
        unused=("optimizer", "trainer", "seed", "seeds"),
    ),
    "evaluate": Command("evaluate", "evaluate", "make the table from a file of answers", True, False),
    "report": Command(
        "report", "report", "set runs beside each other and the published numbers", resumes=False, several="runs"
    ),
    "answer": Command(
        "answer", "answer", "answer a question about a video, with a picture of where it looked", True, False
    ),
    "serve": Command("serve", "serve", "open a page to ask on: rendered concerts and uploaded clips", resumes=False),
    "compare": Command("compare", "compare", "train and test several systems over several seeds: docs/concerts.md"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; a fault the user can mend is one line on standard error and exit code 2."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0 if arguments else 2
    name = arguments[0]
    if name not in COMMANDS:
        print(f"error: unknown command {name!r}; commands: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    command = COMMANDS[name]
    try:
        values = _options(name, [_underscored(argument) for argument in arguments[1:]])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for unused in ("config", *command.unused):
        values.pop(unused, None)
    try:
        with stoppable():
            command_function(name)(**values)
    except (Exception, KeyboardInterrupt) as error:
        asked = received()
        # What fails once the process was asked to end, such as a worker that was asked too, fails because of it.
        if asked is not None or isinstance(error, KeyboardInterrupt):
            by = "" if asked in (None, signal.SIGINT) else f" by {asked.name}"
            goes_on = "; the same command again goes on from here" if command.resumes else ""
            print(f"stopped{by}{goes_on}", file=sys.stderr)
            return 128 + (asked or signal.SIGINT)
        line = told(error)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        if is_dead_worker(error):
            # A loader that had not begun when one of its processes died.
            forget_frames(error)
        return 2
    return 0


def _options(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """The options of a command.

    Raises:
        UserError: they cannot be read.
        SystemExit: the parser refuses them, or was asked for help.
    """
    parser = command_parser(name)
    for number, argument in enumerate(arguments):
        config = argument.removeprefix("--config=") if argument.startswith("--config=") else None
        if argument == "--config" and number + 1 < len(arguments):
            config = arguments[number + 1]
        if config is not None and os.path.lexists(config):
            check_config(Path(config))
    hints = get_type_hints(command_function(name))
    try:
        options: Namespace = parser.parse_args(list(arguments))
        # The parser takes null for every option, and for a group of them.
        empty = nulls(hints, options.as_dict())
        values = {} if empty else dict(parser.instantiate_classes(options).items(nested=False))
    except Exception as error:  # of many kinds: values are read as YAML, by libraries below
        said = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"the options cannot be read: {said}") from error
    if empty:
        raise UserError(f"{', '.join(empty)}: null is no value of it; give one, or leave it out for the default")
    return values


def _underscored(argument: str) -> str:
    """The name of an option may be spelt with hyphens too; its value stays as it is."""
    name, equals, value = argument.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}" if name.startswith("--") else argument


def command_function(name: str) -> Callable[..., None]:
    """The function of a command, whose module is imported now."""
    command = COMMANDS[name]
    function: Callable[..., None] = getattr(
        importlib.import_module(f".{command.module}", __package__), command.function
    )
    return function


def command_parser(name: str) -> ArgumentParser:
    """What reads a command's options."""
    command, function = COMMANDS[name], command_function(name)
    description = (inspect.getdoc(function) or "").partition("\nArgs:")[0].strip()
    parser = _Parser(prog=f"python -m examples.avqa {name}", description=description, formatter_class=_Formatter)
    parser.add_argument("--config", action="config", help="YAML file of the options below; later options override it")
    skipped: set[str | int] = set()
    if command.several:
        parser.add_argument(command.several, nargs="+", type=str, help="as told above")
        skipped.add(command.several)
    parser.add_function_arguments(function, as_group=False, as_positional=command.positional, skip=skipped)
    for section in command.unused:
        parser.add_argument(f"--{section}", type=Any, help=SUPPRESS)
    return parser


def _overview() -> str:
    lines = [
        "usage: python -m examples.avqa COMMAND [options]",
        "",
        "Audio-visual question answering with QA-TIGER.",
        "",
    ]
    lines += [f"  {name:<10}{command.summary}" for name, command in COMMANDS.items()]
    lines += ["", "python -m examples.avqa COMMAND --help tells the options of a command."]
    lines += ["An order that works: concert, extract, fit, test, report, answer, serve."]
    return "\n".join(lines)
