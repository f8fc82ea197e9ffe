"""The command line: `python -m benchmarks COMMAND`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from .cases import COMPILED, EAGER, GRAPHS, SUITES, SUMMARIES, default_suites, experiments, of_size
from .errors import UserError
from .provenance import ROOT, commit, provenance, slug
from .record import RESULTS, Recording

DESCRIPTION = """\
Measures the layer beside what it replaces, in one process, on the device at hand.

implementations, all with the same parameters and inputs:
  layer       TemporalMoE as it comes
  factored    TemporalMoE(backend="torch"): the same algebra in plain torch
  published   the published computation with its indexing mended: every expert on every frame
  NAME_compiled   under torch.compile(fullgraph=True), static shapes; compiling is not timed
  NAME_graph      replayed as a CUDA graph (CUDA only)

Before anything is timed, each implementation's result and gradients are held against the layer in float64. What
disagrees gets no number, and the command ends with status 1.
"""
RUN = """\
Times forward, backward (with its forward outside the clock) and both: implementations in turn, median of 9 samples
with the 20th and 80th percentile, a sample being one call or as many as fill 2 ms. Peak memory is that of forward and
backward net of inputs, parameters and their gradients. FLOPs are counted on aten operations.

Each case is written as soon as it is done; the same command again goes on where it was stopped. What another commit
recorded is measured anew, unless --keep is given.
"""
EXAMPLES = """\
examples:
  python -m benchmarks run                            this device's suites, into benchmarks/results
  python -m benchmarks run --suite published --only layer published
  python -m benchmarks verify --suite published       errors against float64, nothing timed
  python -m benchmarks table                          all recorded results as Markdown
  python -m benchmarks table --readme                 into README.md and docs/**/*.md
  python -m benchmarks plot                           charts into docs/benchmarks
"""
CUDA_MINUTES = 5.0
"""A GPU is often lent by the minute: `run` begins no further case after these unless told."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; a fault the user can mend is one line on standard error and status 2."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.run
    asked = list[int]()
    try:
        with _stoppable(asked):
            status = command(options)
            sys.stdout.flush()
        return status
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; what is recorded stays", file=sys.stderr)
        return 128 + (asked or [signal.SIGINT])[0]
    except BrokenPipeError:
        # The reader of a pipe has left (`| head`): not a fault, and nothing more can be printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # A full disk, a folder that may not be written: the message names the file.
        print(f"error: {error}", file=sys.stderr)
        return 2


@contextmanager
def _stoppable(asked: list[int]) -> Iterator[None]:
    """Signals that ask a process to end stop the command as Ctrl-C does; `asked` takes which."""

    def stop(number: int, frame: FrameType | None) -> None:
        if not asked:
            asked.append(number)
            raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]
    before = {getattr(signal, name): signal.getsignal(getattr(signal, name)) for name in names}
    # Under nohup one is ignored, and stays so; elsewhere than in a main thread nothing can be set.
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    if threading.current_thread() is not threading.main_thread():
        before = {}
    try:
        for number in before:
            signal.signal(number, stop)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parser() -> argparse.ArgumentParser:
    from . import kernels

    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=style
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    names = "\n".join(f"  {name:<10} {SUMMARIES[name]}" for name in SUITES)

    def add(name: str, summary: str, description: str, handler: Callable[[argparse.Namespace], int]) -> None:
        made = commands.add_parser(name, help=summary, description=description, epilog=EXAMPLES, formatter_class=style)
        made.set_defaults(run=handler)
        added[name] = made

    added: dict[str, argparse.ArgumentParser] = {}
    add("run", "verify, measure and record", f"{RUN}\nsuites:\n{names}", _run)
    about = "Prints how far each result and each gradient is from float64, and how far it may be; times nothing."
    add("verify", "hold every implementation against float64", f"{about}\n\nsuites:\n{names}", _verify)
    add("table", "print recorded results as Markdown", "Prints recorded results as Markdown tables.", _table)
    add("plot", "draw charts of recorded results", "Draws charts; needs matplotlib (the extra plot).", _plot)
    kernels.add_parser(commands)
    for name in ("run", "verify"):
        made = added[name]
        made.add_argument(
            "--suite",
            nargs="+",
            choices=SUITES,
            metavar="NAME",
            help="by default all; on CUDA `run` takes pool, published and growth",
        )
        made.add_argument(
            "--only", nargs="+", default=[], metavar="NAME", help="only these implementations, of those of a suite"
        )
        made.add_argument(
            "--size",
            nargs="+",
            default=[],
            metavar="X=N,...",
            help="only cases of these sizes, such as T=1,60 B=8; letters B, T, D, E, K",
        )
        made.add_argument("--device", choices=("cpu", "cuda"), help="by default cuda where there is one")
        made.add_argument(
            "--max-gib",
            type=float,
            metavar="N",
            help="leave out, and say so, what would need more memory (80 %% of what is free)",
        )
    run, table, plot = added["run"], added["table"], added["plot"]
    run.add_argument("--list", action="store_true", help="print the cases and measure nothing")
    run.add_argument("--out", type=Path, metavar="FILE", help="write there instead of benchmarks/results/DEVICE.json")
    run.add_argument("--again", action="store_true", help="measure anew what is recorded already")
    run.add_argument("--keep", action="store_true", help="go on with a file of another commit; each row names its own")
    run.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help=f"begin no further case after these (on CUDA {CUDA_MINUTES:g}, else no limit)",
    )
    for made in (table, plot):
        made.add_argument("files", nargs="*", type=Path, metavar="FILE", help="by default all of benchmarks/results")
    table.add_argument(
        "--readme",
        action="store_true",
        help="write into README.md and docs/**/*.md, between <!-- measured: NAME --> and <!-- end -->",
    )
    table.add_argument("--block", nargs="+", metavar="NAME", help="only these tables; a wrong name lists them")
    plot.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks", metavar="DIR", help="docs/benchmarks")
    plot.add_argument("--format", choices=("svg", "png"), default="svg", help="svg")
    return parser


def _run(options: argparse.Namespace) -> int:
    from .run import run

    device = _device(options)
    wanted = of_size(experiments(options.suite or default_suites(device), device), options.size)
    if options.list:
        for experiment in wanted:
            print(f"{experiment.suite:<10} {experiment.case}: {', '.join(experiment.implementations)}")
        return 0
    made, at = provenance(device), commit()
    path = options.out or RESULTS / f"{slug(made)}.json"
    recording = Recording(path, made, at, options.again, options.keep)
    if recording.started_anew:
        print(f"{path} is from {recording.started_anew}: everything is measured anew", file=sys.stderr)
    minutes = CUDA_MINUTES if options.minutes is None and device == "cuda" else options.minutes
    status = run(wanted, recording, device, chosen=_chosen(options), max_gib=options.max_gib, minutes=minutes)
    print(f"recorded in {path}" + ("; SOME GOT NO NUMBER, see above" if status else ""))
    return status


def _verify(options: argparse.Namespace) -> int:
    from .verify import verify

    device = _device(options)
    every = [name for name in SUITES if name != "pool" or device == "cuda"]
    wanted = of_size(experiments(options.suite or every, device), options.size)
    return verify(wanted, device, chosen=_chosen(options), max_gib=options.max_gib)


def _table(options: argparse.Namespace) -> int:
    from .readme import documents, fill
    from .results import load
    from .tables import BLOCKS, block

    results = load(options.files)
    if options.readme:
        changed = fill(documents(), results)
        print("\n".join(f"{path.relative_to(ROOT)}: written" for path in changed) or "all up to date")
        return 0
    if unknown := [name for name in options.block or () if name not in BLOCKS]:
        raise UserError(f"there is no block {unknown[0]!r}; blocks: {', '.join(BLOCKS)}")
    for device, recorded in results.items():
        for name in options.block or BLOCKS:
            if text := block(name, recorded):
                print(f"## {name}: {device}\n\n{text}")
    return 0


def _plot(options: argparse.Namespace) -> int:
    from .charts import draw
    from .results import load

    for name, recorded in load(options.files).items():
        for path in draw(name, recorded, options.out, options.format):
            print(path)
    return 0


def _device(options: argparse.Namespace) -> str:
    """The device to measure on, and that `layer` there is what a user gets.

    Raises:
        UserError: there is no such device, or the environment chooses a backend.
    """
    import torch

    from gaussian_moe.backend import VARIABLE

    if VARIABLE in os.environ:
        raise UserError(f"unset {VARIABLE}: `layer` is measured as it comes, and `factored` is the torch backend")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UserError("there is no CUDA device")
    device: str = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    return device


def _chosen(options: argparse.Namespace) -> Callable[[str], bool]:
    """Which implementations `--only` names.

    Raises:
        UserError: it names one that there is not.
    """
    others = ("layer_without_skipping", "expert_pool", "expert_pool_skipping", "matrix_product")
    known = (*EAGER, *COMPILED, *GRAPHS, *others)
    if unknown := [name for name in options.only if name not in known]:
        raise UserError(f"there is no implementation {unknown[0]!r}; there are {', '.join(known)}")
    return lambda name: not options.only or name in options.only


if __name__ == "__main__":
    sys.exit(main())
