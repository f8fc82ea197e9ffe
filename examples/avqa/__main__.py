"""`python -m examples.avqa COMMAND`."""

import sys


def run() -> int:
    """The whole of a process: signals, standard output and the command."""
    # First of all: the imports of a command take seconds.
    from .signals import exit_at_once

    exit_at_once()
    from .printing import flush_out, make_patient

    make_patient()
    from .cli import main

    status = main()
    if fault := flush_out():
        print(f"error: {fault}", file=sys.stderr)
        return status or 2
    return status


if __name__ == "__main__":
    sys.exit(run())
