"""The loaders' benchmark compares before it measures, and its record becomes a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.avqa.features import FeatureFolder
from examples.avqa.measure.loader import ask, check_agreement, main, ways, write_folder
from examples.avqa.measure.loader_table import loader_table
from examples.avqa.pack import pack
from examples.avqa.store import FeatureStore


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureFolder, FeatureStore]:
    """Three synthetic videos, in a folder and packed."""
    root = tmp_path_factory.mktemp("loader")
    folder = write_folder(root / "features", videos=3)
    pack(root / "features", root / "store", encoder="paper")
    return folder, FeatureStore(root / "store")


def test_a_record_is_written_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "loader.json"
    main(["--out", str(out), "--videos", "2", "--questions", "2", "--rounds", "2", "--folder", str(tmp_path)])
    record = json.loads(out.read_text())
    assert {(row["case"], row["way"]) for row in record["rows"]} == {
        (case, way) for case in ("random order", "evaluation") for way in ("published", "ours, folder", "ours, store")
    }
    assert all(low <= median <= high for median, low, high in (row["questions_per_s"] for row in record["rows"]))
    assert record["bytes"]["store"] < 0.51 * record["bytes"]["features"]
    table = loader_table(record, out)
    assert table.count("\n|") == 4
    assert "packed store" in capsys.readouterr().out
    # Nothing is left of what was measured.
    assert list(tmp_path.iterdir()) == [out]


def test_every_way_gives_every_question_once(made: tuple[FeatureFolder, FeatureStore]) -> None:
    cases = ways(ask(videos=3, per_video=4), *made)
    check_agreement(cases)
    for case in cases.values():
        for batches in case.values():
            assert sorted(_numbers(batches)) == list(range(12))


def _numbers(batches: Callable[[], Iterable[Any]]) -> list[int]:
    found = []
    for batch in batches():
        numbers = batch["number"] if isinstance(batch, dict) else batch.numbers.flatten()
        found += [number for number in numbers.tolist() if number >= 0]
    return found


def test_other_features_get_no_number(made: tuple[FeatureFolder, FeatureStore], tmp_path: Path) -> None:
    folder, packed = made
    path = folder.path("00000001", "patches")
    kept = path.read_bytes()
    array = np.load(path)
    array[59, 13, 1023] += 0.01
    np.save(path, array)
    try:
        with pytest.raises(ValueError, match="ours, store: question 1 has other features"):
            check_agreement(ways(ask(videos=3, per_video=1), folder, packed))
    finally:
        path.write_bytes(kept)


def test_sizes_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path / "x.json"), "--rounds", "1"])
    assert not list(tmp_path.iterdir())
