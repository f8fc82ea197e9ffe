"""Runs attacks in full and records what they found: `python -m tests.stress run [NAME ...]`, `list`, `page`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from examples.avqa.provenance import provenance

from . import attacks, page
from .attack import Attack, Run
from .record import RECORDED, Record, made, read, write


def run(attack: Attack, amount: int) -> Record:
    """One attack, with a bar."""
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix=f"stress-{attack.name}-") as folder,
        tqdm(total=amount, desc=attack.name, unit=f" {attack.unit}", file=sys.stderr) as bar,
    ):
        outcome = attack.run(Run(amount, Path(folder).resolve(), lambda done: _advance(bar, done)))
    return made(attack, amount, outcome, time.monotonic() - began)


def _advance(bar: tqdm[NoReturn], done: int) -> None:
    bar.update(done - bar.n)


def is_done(folder: Path, attack: Attack, amount: int) -> bool:
    """Whether this very tree was attacked so, so that a stopped run goes on."""
    old, here = read(folder, attack.name), provenance("cpu")["commit"]
    return (
        old is not None
        and old.provenance["commit"] == here
        and not here.endswith("-dirty")
        and old.amount >= amount
        and not old.failed
    )


def show(found: dict[str, Attack]) -> int:
    """The list."""
    for attack in found.values():
        print(f"{attack.name:<24} {attack.area:<12} {attack.full:>7,} {attack.unit:<12} {attack.tried}")
    return 0


def attack_all(chosen: Sequence[Attack], out: Path, amount: int | None, again: bool) -> int:
    """Runs them one by one; 1 where any failed."""
    failed = list[str]()
    for attack in chosen:
        wanted = attack.full if amount is None else amount
        if not again and is_done(out, attack, wanted):
            print(f"{attack.name}: recorded of this commit; --again runs it again")
            continue
        record = run(attack, wanted)
        path = write(out, record)
        print(f"{attack.name}: {record.tried:,} {record.unit}, {record.failed} failed, {record.seconds} s -> {path}")
        for name, value in record.measured.items():
            print(f"  {name}: {value}")
        for failure in record.failures:
            print(f"  FAILED {failure}")
        failed += [attack.name] if record.failed else []
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what there is, and how much a full run tries")
    commands.add_parser("page", help="write docs/reliability.md from what is recorded")
    runner = commands.add_parser("run", help="run attacks, all by default; again after a stop it goes on")
    runner.add_argument("names", nargs="*", metavar="NAME", help="which (default: all)")
    runner.add_argument("--amount", type=int, help="how many to try in place of a full run")
    runner.add_argument("--out", type=Path, default=RECORDED, help="where records go (default: %(default)s)")
    runner.add_argument("--again", action="store_true", help="also what is recorded of this very commit")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Runs the command."""
    asked, found = arguments(given), attacks.load()
    if asked.command == "list":
        return show(found)
    if asked.command == "page":
        print(f"{page.PAGE}: {'written' if page.update(found.values()) else 'up to date'}")
        return 0
    unknown = [name for name in asked.names if name not in found]
    if unknown:
        print(f"error: no attack is called {', '.join(unknown)}; known are {', '.join(found)}", file=sys.stderr)
        return 2
    if asked.amount is not None and asked.amount < 1:
        print(f"error: --amount must be at least 1, got {asked.amount}", file=sys.stderr)
        return 2
    chosen = [attack for name, attack in found.items() if name in asked.names or not asked.names]
    return attack_all(chosen, asked.out, asked.amount, asked.again)


if __name__ == "__main__":
    sys.exit(main())
