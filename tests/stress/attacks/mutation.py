"""The library, changed in one place at a time: do its tests notice?"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tests.stress.attack import Attack, Outcome, Run
from tests.stress.mutation.mutants import Mutant, is_real, mutants
from tests.stress.mutation.tree import ROOT, Ended, Tree

WANTED = 0.9
"""The share of mutants that the tests must notice."""
FIRST = 60
"""How many of the tests that run a line are tried before all of them: the quickest."""
NO_RESULT = (
    # Which sizes of blocks are tried, and how they are named: any will do, and `benchmarks` tests them.
    "kernels/expert_pool/configs.py",
    "kernels/expert_pool/compilations.py",
    # Margins, sizes and colors of pictures.
    "gaussian_moe/_plot_history.py",
    "gaussian_moe/_plot_style.py",
    "gaussian_moe/_plot_timeline.py",
)
"""Files whose mutants change no number."""
FAST = ("-m", "not slow and not gpu and not browser")
LIMIT_S = 3600.0


@dataclass(frozen=True)
class Scope:
    """Files to change, and the tests that are to notice: once plainly, once in Triton's interpreter."""

    files: tuple[str, ...]
    plain: tuple[str, ...]
    interpreted: tuple[str, ...]

    def modules(self) -> list[str]:
        """Every file, relative to the root."""
        found = [
            path
            for name in self.files
            for path in ((ROOT / name).rglob("*.py") if name[-3:] != ".py" else [ROOT / name])
        ]
        names = {str(path.relative_to(ROOT)) for path in found}
        return sorted(name for name in names if name not in NO_RESULT and not name.startswith("gaussian_moe/kernels/"))


CORE = Scope(("gaussian_moe", "kernels"), ("tests/gaussian_moe", "tests/kernels"), ("tests/kernels",))
LOSSES = Scope(("gaussian_moe/losses.py",), ("tests/gaussian_moe/test_losses.py",), ())
"""Small enough for the tests."""


@dataclass(frozen=True)
class Baseline:
    """What the tests do where nothing is changed, in one of the two ways."""

    interpreted: bool
    tested: Ended

    def tests_of(self, mutant: Mutant) -> list[str]:
        """The tests that run a mutant's line, the quickest first; of a line that runs on import, those of its file."""
        lines = self.tested.lines.get(mutant.file, {})
        tests = set(lines.get(mutant.line, ())) or {test for each in lines.values() for test in each}
        return sorted(tests & self.tested.seconds.keys(), key=self.tested.seconds.__getitem__)


def baselines(tree: Tree, scope: Scope) -> list[Baseline]:
    """Both ways.

    Raises:
        RuntimeError: a test fails although nothing is changed.
    """
    found = list[Baseline]()
    for interpreted, tests in ((False, scope.plain), (True, scope.interpreted)):
        if tests:
            tested = tree.run([*FAST, *tests], interpreted, LIMIT_S, cover=True)
            if tested.code:
                raise RuntimeError(
                    f"{tested.failed or 'the tests'} failed although nothing was changed:\n{tree.log()[-3000:]}"
                )
            found.append(Baseline(interpreted, tested))
    return found


def noticed(tree: Tree, mutant: Mutant, before: Iterable[Baseline]) -> bool:
    """Whether a test fails, or does not end, with the mutant."""
    tree.change(mutant)
    try:
        for baseline in before:
            tests = baseline.tests_of(mutant)
            for part in filter(None, (tests[:FIRST], tests[FIRST:])):
                usual = sum(map(baseline.tested.seconds.__getitem__, part))
                if tree.run([*FAST, *part], baseline.interpreted, 60 + 5 * usual).code:
                    return True
        return False
    finally:
        tree.restore(mutant)


def chosen(scope: Scope, amount: int, seed: int) -> list[Mutant]:
    """So many mutants, each as likely as any other."""
    sources = {file: (ROOT / file).read_bytes() for file in scope.modules()}
    every = [mutant for file, source in sources.items() for mutant in mutants(file, source)]
    random.Random(seed).shuffle(every)
    real = (mutant for mutant in every if is_real(mutant, sources[mutant.file]))
    return list(itertools.islice(real, amount))


def attack(scope: Scope, run: Run) -> Outcome:
    """Tries mutants one by one."""
    picked, survivors = chosen(scope, run.amount, run.seed), list[Mutant]()
    with Tree(run.folder) as tree:
        before = baselines(tree, scope)
        for number, mutant in enumerate(picked, start=1):
            if not noticed(tree, mutant, before):
                survivors.append(mutant)
            run.tell(number)
    return judged(picked, survivors)


def judged(picked: Sequence[Mutant], survivors: Sequence[Mutant]) -> Outcome:
    """All is well where enough are noticed."""
    share = 1 - len(survivors) / len(picked)
    failures = tuple(f"not noticed: {mutant}" for mutant in survivors)
    return Outcome(
        len(picked),
        failures if share < WANTED else (),
        {"noticed": f"{len(picked) - len(survivors)} of {len(picked)}, {share:.1%}"},
        notes=failures,
    )


def _sample(number: int, run: Run) -> Outcome:
    """One of the samples. A change of the library draws another, as it changes what is drawn from."""
    scope = LOSSES if run.amount <= SAMPLE else CORE
    return attack(scope, replace(run, seed=run.seed + number))


SAMPLE = 6
_TRIED = (
    "another operator, number, name or condition, a statement less, somewhere in the library but for its pictures and "
    "sizes of blocks, in {} that was drawn after the tests were written"
)
ATTACKS = tuple(
    Attack(
        name=name,
        area="Mutation",
        tried=_TRIED.format(which),
        holds=f"the library's fast tests notice at least {WANTED:.0%}; some mutants change no result",
        run=partial(_sample, number),
        full=120,
        sample=sample,
        unit="mutants",
    )
    for name, which, number, sample in (("mutants", "a sample", 4, SAMPLE), ("mutants-again", "another sample", 5, 1))
)
