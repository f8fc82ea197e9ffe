"""A tiny data set and a model trained on it, made once: copy them to change them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.examples.tiny_run import TinyData, train_tiny, write_data


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
