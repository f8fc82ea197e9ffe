"""A sample of every attack: nothing breaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaussian_moe import backend
from tests.conftest import LIMITS
from tests.stress import attacks
from tests.stress.attack import Attack, Run


@pytest.fixture(autouse=True)
def _as_a_user_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of small inputs, which other tests set to 0."""
    for name, value in LIMITS.items():
        monkeypatch.setattr(backend, name, value)


@pytest.mark.slow
@pytest.mark.parametrize("attack", attacks.load().values(), ids=lambda attack: attack.name)
def test_nothing_breaks(attack: Attack, tmp_path: Path) -> None:
    outcome = attack.run(Run(attack.sample, tmp_path))
    assert outcome.failures == ()
    assert outcome.tried >= 1
