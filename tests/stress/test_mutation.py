"""The mutants of a file, and that a change which no test notices is told from one that is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stress.attacks import mutation
from tests.stress.attacks.mutation import Baseline, Scope, chosen, judged, noticed
from tests.stress.mutation.mutants import Mutant, is_real, mutants
from tests.stress.mutation.tree import ROOT, Ended, Tree


def changes(text: str) -> list[str]:
    """Each mutant of a text, as the whole text."""
    source = text.encode()
    return [mutant.applied(source).decode() for mutant in mutants("a.py", source) if is_real(mutant, source)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a + b", ["a - b"]),
        ("(a) * (b)", ["(a) / (b)"]),
        ("é + b", ["é - b"]),
        ("x += y", ["x -= y"]),
        ("a < b", ["a <= b"]),
        ("a is not b", ["a is b"]),
        ("a not in b", ["a in b"]),
        ("a and b and c", ["a or b and c", "a and b or c"]),
        ("x = -a", ["x = a"]),
        ("x = 3", ["x = 4"]),
        ("x = 0.0", ["x = 1.0"]),
        ("x = 0.5", ["x = 1.0"]),
        ("x = True", ["x = False"]),
        ("x = 'text'", []),
        ("f(a)", ["pass"]),
        ("y = x.amax(d)", ["y = x.amin(d)"]),
        ("if a:\n    b", ["if not (a):\n    b"]),
        ("if a == b:\n    c", ["if a != b:\n    c"]),
        ("raise ValueError(f'{1 + 2}')", ["pass"]),
        ("def f(x: a | b = 1) -> c | d: ...", ["def f(x: a | b = 2) -> c | d: ..."]),
        ("if TYPE_CHECKING:\n    x = 1", []),
        ('"""Of 1 + 2."""', []),
    ],
)
def test_every_small_change_is_found_and_no_other(text: str, wanted: list[str]) -> None:
    assert changes(text) == wanted


def test_a_mutant_says_where_it_is() -> None:
    (mutant,) = mutants("a.py", b"x = y\nz = (\n    x\n    - y\n)")
    assert str(mutant) == "a.py:4: - -> +"


def test_the_choice_is_the_same_again_and_within_the_scope() -> None:
    scope = Scope(("gaussian_moe/losses.py", "kernels/gaussian_weights"), (), ())
    first = chosen(scope, 20, seed=1)
    assert len(set(first)) == 20
    assert first == chosen(scope, 20, seed=1)
    assert first != chosen(scope, 20, seed=2)
    assert {mutant.file.rpartition("/")[0] for mutant in first} == {"gaussian_moe", "kernels/gaussian_weights"}


def test_the_core_is_all_of_the_library_but_what_has_no_result() -> None:
    files = set(mutation.CORE.modules())
    assert {"gaussian_moe/moe.py", "gaussian_moe/functional/pool.py", "kernels/expert_pool/kernel_backward.py"} <= files
    assert not files & set(mutation.NO_RESULT)
    assert not [name for name in files if name.startswith("gaussian_moe/kernels/")]


def test_a_line_is_tested_by_those_who_run_it_and_else_by_those_who_run_its_file() -> None:
    tested = Ended(0, (), {"slow": 2.0, "quick": 1.0}, {"a.py": {1: [], 2: ["slow"], 3: ["quick"]}})
    baseline = Baseline(False, tested)
    assert baseline.tests_of(Mutant("a.py", 2, 0, 0, "", "")) == ["slow"]
    assert baseline.tests_of(Mutant("a.py", 1, 0, 0, "", "")) == ["quick", "slow"]
    assert baseline.tests_of(Mutant("b.py", 1, 0, 0, "", "")) == []


def test_too_few_noticed_is_a_failure_and_the_rest_is_noted() -> None:
    mutant = Mutant("a.py", 1, 0, 1, "+", "-")
    assert judged([mutant] * 10, [mutant]).failures == ()
    assert judged([mutant] * 10, [mutant]).notes == ("not noticed: a.py:1: + -> -",)
    assert len(judged([mutant] * 10, [mutant, mutant]).failures) == 2


@pytest.mark.slow
def test_a_change_is_noticed_undone_and_what_changes_nothing_is_not(tmp_path: Path) -> None:
    file = "gaussian_moe/losses.py"
    source = (ROOT / file).read_bytes()
    with Tree(tmp_path) as tree:
        (before,) = mutation.baselines(tree, mutation.LOSSES)
        assert before.tested.seconds
        wrong = next(each for each in mutants(file, source) if str(each).endswith("sum -> mean"))
        same = Mutant(file, wrong.line, 0, 0, "", "# Nothing.\n")
        assert noticed(tree, wrong, [before])
        assert not noticed(tree, same, [before])
        assert (tree.root / file).read_bytes() == source
    assert (ROOT / file).read_bytes() == source


@pytest.mark.slow
def test_what_does_not_end_is_killed(tmp_path: Path) -> None:
    with Tree(tmp_path) as tree:
        (tree.root / "tests" / "test_endless.py").write_text("def test_it():\n    while True:\n        pass\n")
        assert tree.run(["tests/test_endless.py"], interpreted=False, seconds=8).code == -1
        (tree.root / "tests" / "test_endless.py").write_text("def test_it():\n    assert True\n")
        assert tree.run(["tests/test_endless.py"], interpreted=False, seconds=60).code == 0
