"""The examples in the docstrings of examples/ run."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["examples.avqa.model", "examples.avqa.hub"])
def test_the_examples_of_the_example_run(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module, raise_on_error=False).failed == 0
    assert doctest.DocTestFinder(exclude_empty=True).find(module)
