"""Files that may come from anyone, changed in every way: a right result or a clear error in one line."""

from __future__ import annotations

from tests.stress.attack import Attack, Defect, Outcome, Run

_HOLDS = (
    "right, or refused in one line that names the file; under 10 s and 256 MiB each, nothing run or written elsewhere"
)
_TESTS = "tests/examples/test_hostile_files.py"


def _attack(name: str, what: str, parsers: tuple[str, ...], defects: tuple[Defect, ...], sample: int = 60) -> Attack:
    def run(asked: Run) -> Outcome:
        # What it needs is imported when it is run: tests list all attacks.
        from tests.stress.fuzz.campaign import attack

        return attack(asked, parsers)

    return Attack(
        name=name,
        area="Fuzzing",
        tried=what,
        holds=_HOLDS,
        run=run,
        full=10_000 * len(parsers),
        sample=sample * len(parsers),
        defects=defects,
    )


def _broke(failed: str, test: str) -> Defect:
    return Defect(failed, f"{_TESTS}::{test}")


ATTACKS = (
    _attack("fuzz-annotations", "annotation files and answer indices", ("annotations", "answer-index"), ()),
    _attack("fuzz-answers", "answers of other programs, as CSV and JSON", ("answers-csv", "answers-json"), ()),
    _attack(
        "fuzz-results",
        "predictions, tables, metrics of a run, recorded benchmarks",
        ("predictions", "tables", "metrics", "benchmark-record"),
        (),
    ),
    _attack("fuzz-features", "feature arrays, their indices and checked.json", ("feature-arrays", "feature-index"), ()),
    _attack("fuzz-stores", "packed stores and journals of packing", ("store", "pack-journal"), ()),
    _attack(
        "fuzz-configs",
        "YAML configs, command lines, settings of runs and of concerts",
        ("config", "command-line", "run-settings", "concert-settings"),
        (),
        sample=30,
    ),
    _attack(
        "fuzz-checkpoints",
        "checkpoints, their pickles alone, released weights",
        ("checkpoint", "checkpoint-pickle", "released-weights"),
        (),
        sample=40,
    ),
    _attack(
        "fuzz-weights",
        "encoders' weights, encoded questions, folders of the Hub's kind",
        ("encoder-weights", "encoded-questions", "hub-folder"),
        (),
        sample=40,
    ),
)
