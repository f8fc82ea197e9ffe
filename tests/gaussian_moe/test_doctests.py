"""Every public name has an example, and every example runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import gaussian_moe
from gaussian_moe import functional

MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (gaussian_moe, functional)
    for module in pkgutil.iter_modules(package.__path__)
    if not module.ispkg
]
PUBLIC = [
    *(getattr(gaussian_moe, name) for name in gaussian_moe.__all__ if name != "__version__"),
    *(getattr(functional, name) for name in functional.__all__),
]


@pytest.mark.parametrize("name", [*MODULES, "examples.avqa.model", "examples.avqa.hub"])
def test_examples_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name), raise_on_error=False).failed == 0


@pytest.mark.parametrize("public", PUBLIC, ids=lambda public: public.__name__)
def test_every_public_name_has_an_example(public: object) -> None:
    assert doctest.DocTestParser().get_examples(inspect.getdoc(public) or "")


def test_modules_are_found() -> None:
    assert {"gaussian_moe.moe", "gaussian_moe.functional.pool", "gaussian_moe.inputs"} <= set(MODULES)
