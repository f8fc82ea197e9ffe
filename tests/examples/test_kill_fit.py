"""`fit` survives kill -9: the helper script, with fewer kills."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples.kill_fit import kill_fit


@pytest.mark.slow
def test_a_killed_fit_goes_on_to_the_very_same_metrics_and_weights(tmp_path: Path) -> None:
    # The first kill comes after the run's first file, the second anywhere.
    assert len(kill_fit(tmp_path, times=2, seed=3)) == 2
