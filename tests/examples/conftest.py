"""A tiny data set and a model trained on it, made once: copy them to change them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.examples.tiny_run import TinyData, train_tiny, write_data


@pytest.fixture(autouse=True, scope="session")
def _encoders_are_read_once() -> Iterator[None]:
    """Half a second each for text and pictures, which many tests would spend."""
    from examples.avqa.encoders import small_text, small_vision

    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((small_text, "TextEncoder"), (small_vision, "VisionEncoder")):
            patch.setattr(module, name, cache(getattr(module, name)))
        yield


@pytest.fixture
def read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of the reading itself."""
    from examples.avqa.encoders import small_text, small_vision

    for module, name in ((small_text, "TextEncoder"), (small_vision, "VisionEncoder")):
        monkeypatch.setattr(module, name, getattr(module, name).__wrapped__)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyData:
    """The data set."""
    return write_data(tmp_path_factory.mktemp("tiny") / "data")


@pytest.fixture(scope="session")
def tiny_run(tiny: TinyData) -> Path:
    """A run of two epochs on it."""
    return train_tiny(tiny, tiny.root.parent / "run")


@pytest.fixture
def own(tiny: TinyData, tiny_run: Path, tmp_path: Path) -> TinyData:
    """A copy of the data set, its questions already encoded, for one test to change."""
    shutil.copytree(tiny.root, tmp_path / "data")
    return TinyData(tmp_path / "data")
