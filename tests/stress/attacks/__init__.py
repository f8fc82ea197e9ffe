"""All attacks: every module here names its own as `ATTACKS`."""

from __future__ import annotations

import importlib
import pkgutil

from tests.stress.attack import AREAS, Attack


def load() -> dict[str, Attack]:
    """By name, in the order of the table.

    Raises:
        ValueError: two have one name.
    """
    found = dict[str, Attack]()
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        for attack in importlib.import_module(module.name).ATTACKS:
            if attack.name in found:
                raise ValueError(f"two attacks are called {attack.name}")
            found[attack.name] = attack
    return dict(sorted(found.items(), key=lambda item: (AREAS.index(item[1].area), item[0])))
