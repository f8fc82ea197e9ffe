"""What is quick in PyTorch and slow in Triton's interpreter, which runs a kernel line by line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

from gaussian_moe.kernels import runtime

F = TypeVar("F", bound=Callable[..., None])


def slow_when_interpreted(test: F) -> F:
    """Leaves a test to `make test-all` where the interpreter runs the kernels."""
    marked: F = pytest.mark.slow(test) if runtime.INTERPRETED else test
    return marked
