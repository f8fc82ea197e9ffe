"""What a folder of results is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.avqa.result_files import results_name


@pytest.mark.parametrize("name", ["/...json", "/....json", "/..", "/.json", "/-.json", "/-...json"])
def test_no_annotations_name_another_folder(tmp_path: Path, name: str) -> None:
    made = results_name("test", None, Path(name))
    assert (tmp_path / made).resolve().parent == tmp_path
    assert made


def test_other_annotations_are_told_by_their_folder() -> None:
    assert results_name("test", None, Path("/data/v2/test.json")) == "v2-test"
    assert results_name("test", Path("/data/test.json"), Path("/data/v2/../test.json")) == "test"
