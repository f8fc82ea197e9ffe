"""Tables drawn from a recorded file: what they say, and that they are the same each time."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import benchmarks.__main__ as command
from benchmarks import readme
from benchmarks.cases import GRID, GROWTH_E, GROWTH_T, PUBLISHED
from benchmarks.errors import UserError
from benchmarks.measure import Timing
from benchmarks.record import Row
from benchmarks.results import NAMES, Results, load
from benchmarks.tables import BLOCKS, block
from tests.benchmarks.recorded import PROVENANCE, record

TEXT = "# Title\n\n<!-- measured: published -->\nold\n<!-- end -->\n\n<!-- recorded: other -->\nkept\n<!-- end -->\n"


@pytest.fixture
def results(tmp_path: Path) -> Results:
    path = tmp_path / "some-cpu.json"
    record(path)
    return load([path])["some-cpu"]


def of(*rows: Row) -> Results:
    """Results of these rows."""
    return Results(PROVENANCE | {"date": "2024-01-31"}, rows)


def test_the_same_file_gives_the_same_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "some-cpu.json"
    record(path)
    printed = []
    for _ in range(2):
        assert command.main(["table", str(path)]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    for name in BLOCKS:
        assert (f"## {name}: some-cpu" in printed[0]) == (name != "pool")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_block_names_its_machine_and_every_implementation(tmp_path: Path, device: str) -> None:
    path = tmp_path / "a.json"
    rows = record(path, device)
    for name, (suites, _) in BLOCKS.items():
        text = block(name, load([path])["a"])
        if name == "pool" and device == "cpu":
            assert text == ""
            continue
        assert text.endswith("torch 2.13.0, Triton 3.9.0; 2024-01-31, commit abc1234.\n")
        if name not in ("grid", "grid-summary", "published-short"):
            shown = {row.implementation for row in rows if row.suite in suites}
            assert {implementation for implementation in shown if NAMES[implementation] in text} == shown


SLOW = {name: Timing(seconds, seconds, seconds) for name, seconds in (("forward", 0.4), ("both", 1.2))}
FAST = {"forward": Timing(0.1, 0.09, 0.11), "backward": Timing(0.2, 0.2, 0.2), "both": Timing(0.3, 0.3, 0.3)}
LAYER = Row("published", PUBLISHED[0], "layer", "c", FAST, memory=2**20, flops=50)
BASE = Row("published", PUBLISHED[0], "published", "c", SLOW, memory=6 * 2**20, flops=100)


def test_the_short_block_has_this_layers_ratios() -> None:
    assert "| 32, 60, 512, 7, 7 | 4.00× | 4.00× | 1/6 | 0.50 |" in block("published-short", of(LAYER, BASE))
    wrong = Row("published", PUBLISHED[0], "layer", "c", {}, fault="result disagrees")
    assert "| 32, 60, 512, 7, 7 | no number | no number" in block("published-short", of(wrong, BASE))
    assert "no number" in block("published-short", of(LAYER))


def test_times_ratios_memory_and_flops_are_those_recorded() -> None:
    text = block("published", of(LAYER, BASE))
    cells = ["100 (90.0 to 110)", "200 (200 to 200)", "300 (300 to 300)", "4.00×", "4.00×", "1", "0.50"]
    assert f"| 32, 60, 512, 7, 7 | this layer | {' | '.join(cells)} |" in text


def test_losing_rows_and_rows_without_a_number_stay() -> None:
    def time(seconds: float) -> dict[str, Timing]:
        return {name: Timing(seconds, seconds, seconds) for name in ("forward", "both")}

    good, slow, faulty = GRID[:3]
    rows = [
        Row("grid", case, name, "c", time(seconds))
        for case, layer in ((good, 1.04), (slow, 1.06))
        for name, seconds in (("layer", layer), ("layer_compiled", layer), ("factored_compiled", 1.0))
    ]
    rows += [
        Row("grid", faulty, "layer", "c", fault="the result differs from float64"),
        Row("grid", faulty, "layer_compiled", "c", time(1.0)),
        Row("grid", faulty, "factored_compiled", "c", time(1.0)),
    ]
    summary, whole = (block(name, of(*rows)) for name in ("grid-summary", "grid"))
    assert "| this layer | forward | 1 of 3 | 0.94× | 0.95× | 0.96× |" in summary
    assert "| this layer, compiled | forward | 2 of 3 |" in summary
    assert "| this layer | forward | 8, 1, 256, 1, 1 | 1060 (1060 to 1060) | 1000 (1000 to 1000) | 0.94× |" in summary
    assert "no number: the result differs from float64" in summary
    assert "8, 1, 256, 1, 1" in whole
    assert whole.count("\n| ") == 2 + 3 - 1


def test_growth_tells_the_power_of_t_and_how_flat_e_is() -> None:
    rows = [Row("growth", case, "layer", "c", {"forward": Timing(*[1e-6 * case.T] * 3)}) for case in GROWTH_T]
    for case, factor in zip(GROWTH_E, (1.0, 1.02, 1.15, 1.1), strict=True):
        rows.append(Row("growth", case, "layer", "c", {"forward": Timing(*[2048e-6 * factor] * 3)}, memory=2**20))
    text = block("growth", of(*rows))
    assert "grows as T to the power 1.00 (no point is off by more than 0 %)" in text
    assert "changes by +10 %; the slowest takes 1.15 times the fastest" in text
    assert "| this layer | 2.05 | 2.09 | 2.36 | 2.25 |" in text
    assert "MiB, against E:\n\n|  | E = 8 | E = 16 | E = 32 | E = 64 |\n" in text


def test_what_skipping_saves_stands_with_its_error(results: Results) -> None:
    text = block("growth", results)
    assert re.search(r"\| this layer \| [^|]+ \| [\d.]+× \| 1.0e-06 \|", text)
    assert re.search(r"\| this layer, nothing skipped \| [^|]+ \| 1.00× \| 1.0e-06 \|", text)


def test_documents_are_filled_once_and_only_where_a_block_stands(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(TEXT)
    recorded = {"some-cpu": results}
    assert readme.fill([path], recorded) == [path]
    text = path.read_text()
    assert text.startswith("# Title\n\n<!-- measured: published -->\n\n| B, T, D, E, K |")
    assert text.endswith("<!-- end -->\n\n<!-- recorded: other -->\nkept\n<!-- end -->\n")
    assert "old" not in text
    assert readme.fill([path], recorded) == []


def test_a_block_of_no_name_or_with_nothing_recorded_changes_no_document(results: Results, tmp_path: Path) -> None:
    good, bad = tmp_path / "a.md", tmp_path / "b.md"
    for name in ("pool", "speed"):
        good.write_text(TEXT)
        bad.write_text(TEXT.replace("published", name))
        with pytest.raises(UserError, match=name):
            readme.fill([good, bad], {"some-cpu": results})
        assert good.read_text() == TEXT


def test_the_committed_documents_are_up_to_date() -> None:
    for path in readme.documents():
        text = path.read_text(encoding="utf-8")
        if "<!-- measured: " in text:
            assert readme.rendered(text, load([])) == text, f"{path.name}: make readme"


def test_several_devices_stand_one_after_the_other(tmp_path: Path) -> None:
    for device in ("cpu", "cuda"):
        record(tmp_path / f"{device}.json", device)
    text = readme.rendered(TEXT, load(sorted(tmp_path.glob("*.json"))))
    assert text.index("Some CPU, 2 threads") < text.index("Some GPU, Python")


def test_no_results_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.results.RESULTS", tmp_path)
    assert command.main(["table"]) == 2
    assert capsys.readouterr().err.startswith("error: benchmarks/results holds no results yet")
    assert command.main(["table", str(tmp_path / "absent.json")]) == 2
    record(tmp_path / "a.json")
    assert command.main(["table", str(tmp_path / "a.json"), "--block", "speed"]) == 2
    assert "blocks: published, published-short, pool" in capsys.readouterr().err
