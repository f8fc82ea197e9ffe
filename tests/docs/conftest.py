"""Tells at the end of a test run which blocks of the pages were left out, and why."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed"))
    reasons = sorted(str(text) for report in reports for name, text in report.user_properties if name == "not run")
    if reasons:
        terminalreporter.section("blocks of pages that are not run")
        terminalreporter.write_line("\n".join(reasons))
