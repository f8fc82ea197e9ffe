"""Pages run as a reader would run them; at the end stands which of their blocks were left out, and why."""

from __future__ import annotations

import pytest

from gaussian_moe import backend
from tests.conftest import LIMITS


@pytest.fixture(autouse=True)
def _as_a_reader_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of small inputs, which other tests set to 0."""
    for name, value in LIMITS.items():
        monkeypatch.setattr(backend, name, value)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed"))
    reasons = sorted(str(text) for report in reports for name, text in report.user_properties if name == "not run")
    if reasons:
        terminalreporter.section("blocks of pages that are not run")
        terminalreporter.write_line("\n".join(reasons))
