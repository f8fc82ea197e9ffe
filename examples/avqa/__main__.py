"""`python -m examples.avqa COMMAND`."""

import sys

if __name__ == "__main__":
    # First of all: the imports of a command take seconds.
    from .signals import exit_at_once

    exit_at_once()
    from .printing import flush_out, make_patient

    make_patient()
    from .cli import main

    status = main()
    if fault := flush_out():
        print(f"error: {fault}", file=sys.stderr)
        status = status or 2
    sys.exit(status)
