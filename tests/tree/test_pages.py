"""The examples in the README, in docs/ and in the docstrings of examples/ run."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["examples.avqa.model", "examples.avqa.hub"])
def test_the_examples_of_the_example_run(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module, raise_on_error=False).failed == 0
    assert doctest.DocTestFinder(exclude_empty=True).find(module)


@pytest.mark.parametrize(("name", "at_least"), [("README.md", 2), ("docs/package.md", 1)])
def test_the_python_of_a_page_runs(name: str, at_least: int) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= at_least
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)  # our own text


def test_the_example_in_the_page_of_devices() -> None:
    page = ROOT / "docs" / "devices.md"
    assert doctest.testfile(str(page), module_relative=False) == (0, 4)
