"""What every test runs under: one thread, a fixed seed, and Hypothesis without a clock or a memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from gaussian_moe import backend

torch.set_num_threads(1)
LIMITS = {name: getattr(backend, name) for name in ("SMALL", "SMALL_COMPILED", "SMALL_SHORT")}
"""Below which sizes the layers take the plain path, as the library has them."""

LONG = ("tests/tree/test_machine_code.py", "tests/examples/test_dropins_run.py", "tests/docs/test_pages.py")
"""Where single slow tests take a minute: before the others, or one process would wait for another's at the end."""

settings.register_profile("repeatable", deadline=None, derandomize=True, database=None, max_examples=25)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(713)


@pytest.fixture(autouse=True, scope="session")
def _nothing_is_small() -> Iterator[None]:
    """The small inputs of tests go to the operators, which on a CPU take only what is worth it."""
    with pytest.MonkeyPatch.context() as patch:
        for limit in LIMITS:
            patch.setattr(backend, limit, 0)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what tests recorded as "measured", also where other processes ran them."""
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for name, text in report.user_properties:
            if name == "measured":
                terminalreporter.section(f"measured by {report.nodeid}")
                terminalreporter.write_line(str(text))
