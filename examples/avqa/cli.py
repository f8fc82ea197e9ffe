"""The command line: one subcommand a function, its options the function's arguments, YAML files with --config."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from jsonargparse import ArgumentParser, Namespace

from .errors import UserError

# Command -> module and function; a module is imported only when its command is parsed, so that --help is quick.
COMMANDS = {
    "concert": ("concert.build", "concert", "render the built-in data set of concerts, with annotations"),
    "extract": ("extract", "extract", "turn a folder of videos into features"),
    "fit": ("fit", "fit", "train QA-TIGER"),
    "test": ("evaluate", "evaluate", "test a trained model, with the table by question type"),
    "answer": ("answer", "answer", "answer a question about a video file, with a picture of where the model looked"),
    "compare": ("compare", "compare", "train and test several models over several seeds, and make the README's table"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; a fault the user can mend is one line on standard error and exit code 2."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0 if arguments else 2
    command = arguments[0]
    if command not in COMMANDS:
        print(f"error: unknown command {command!r}; commands: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    module_name, function_name, summary = COMMANDS[command]
    function = getattr(importlib.import_module(f".{module_name}", __package__), function_name)
    parser = ArgumentParser(prog=f"python -m examples.avqa {command}", description=summary, exit_on_error=True)
    parser.add_argument("--config", action="config", help="YAML file of the options below; later options override it")
    parser.add_function_arguments(function, as_group=False, fail_untyped=True)
    options: Namespace = parser.parse_args(arguments[1:])
    values = dict(parser.instantiate_classes(options).items(nested=False))
    values.pop("config", None)
    try:
        function(**values)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command again goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe has left (`| head`): not a fault, and nothing more can be printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


def _overview() -> str:
    lines = [
        "usage: python -m examples.avqa COMMAND [options]",
        "",
        "Audio-visual question answering with QA-TIGER.",
        "",
    ]
    lines += [f"  {name:<10}{summary}" for name, (_, _, summary) in COMMANDS.items()]
    lines += ["", "python -m examples.avqa COMMAND --help tells the options of a command."]
    lines += ["An order that works: concert, extract, fit, test, answer."]
    return "\n".join(lines)
