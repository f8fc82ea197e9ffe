"""A whole attack: the corpus, changes of valid files, and a coverage-guided run, for each parser in turn."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.stress.attack import Outcome, Run

from . import corpus, guided
from .byte_changes import BYTES
from .child import Child
from .judge import Trial
from .parser import Draw, Files, Parser
from .parsers import load

GUIDED_FROM = 1000
"""Inputs for each parser from which on half of them are the guided fuzzer's: it takes seconds to start."""
_SHOWN = 300
_BY_HYPOTHESIS = 20
"""One in so many of the changed files."""


class _Findings:
    """What is known so far."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.counts = Counter[str]()
        self.failures = dict[str, None]()
        self.slowest, self.memory = 0.0, 0

    @property
    def done(self) -> int:
        """Inputs so far."""
        return sum(self.counts[how] for how in ("kept", "changed", "chosen", "guided"))

    def note(self, parser: Parser, how: str, files: Files, trial: Trial) -> None:
        """One input."""
        self.counts.update((how, trial.kind))
        self.slowest, self.memory = max(self.slowest, trial.seconds), max(self.memory, trial.memory)
        if trial.kind == "fault":
            name = corpus.digest(files)
            self.failures.setdefault(f"{parser.name} {name}: {trial.text[:_SHOWN]}")
            corpus.keep(self._run.folder / "faults", parser.name, files)
        self._run.tell(self.done)


def attack(run: Run, names: tuple[str, ...]) -> Outcome:
    """Attacks parsers by name, `run.amount` inputs for all of them together."""
    findings = _Findings(run)
    each = run.amount // len(names)
    for parser in map(load, names):
        folder = run.folder / parser.name
        folder.mkdir()
        child = Child(parser, folder)
        try:
            for files in corpus.kept(parser.name):
                findings.note(parser, "kept", files, child.try_(files))
            structured = each - each // 2 if each >= GUIDED_FROM else each
            by_hypothesis = structured // _BY_HYPOTHESIS
            for files in changed(parser, structured - by_hypothesis, run.seed):
                findings.note(parser, "changed", files, child.try_(files))
            for files in chosen(parser, by_hypothesis, run.seed) if by_hypothesis else ():
                findings.note(parser, "chosen", files, child.try_(files))
        finally:
            child.close()
        if each >= GUIDED_FROM:
            found = guided.run(parser, each // 2, run.seed, folder)
            findings.counts.update({"guided": found.executed})
            findings.slowest, findings.memory = max(findings.slowest, found.slowest), max(findings.memory, found.memory)
            findings.failures.update(dict.fromkeys(f"{parser.name}, guided: {text[:_SHOWN]}" for text in found.faults))
            run.tell(findings.done)
    counts = findings.counts
    return Outcome(
        tried=findings.done,
        failures=tuple(findings.failures),
        measured={
            "changed valid files": counts["changed"],
            "changed by Hypothesis": counts["chosen"],
            "coverage-guided": counts["guided"],
            "of the corpus": counts["kept"],
            "read": counts["right"],
            "refused": counts["refused"],
            "slowest": f"{findings.slowest:.2f} s",
            "most memory": f"{findings.memory / 2**20:.0f} MiB",
        },
    )


def changed(parser: Parser, amount: int, number: int) -> Iterator[Files]:
    """Valid folders with one to three changes of one file, chosen by random numbers."""
    draw = Draw(random.Random(number).randint)
    for _ in range(amount):
        yield _changed(parser, draw)


def chosen(parser: Parser, amount: int, number: int) -> list[Files]:
    """The same, chosen by Hypothesis, which is slower, and looks for what differs from what it made before."""
    made = list[Files]()

    @seed(number)
    @settings(
        max_examples=amount,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def draw_all(data: st.DataObject) -> None:
        made.append(_changed(parser, Draw(lambda least, most: data.draw(st.integers(least, most)))))

    draw_all()
    return made[:amount]


def _changed(parser: Parser, draw: Draw) -> Files:
    files = dict(draw.one(parser.seeds()))
    name = draw.one([name for name in parser.changes if name in files])
    for _ in range(draw.one((1, 1, 1, 2, 3))):
        # Half of them know the format.
        own = parser.changes[name]
        change = draw.one(own if own and draw.number(0, 2) else BYTES)
        files[name] = change(draw, files[name])
    return files
