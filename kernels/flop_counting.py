"""Formulas for PyTorch's FLOP counter: registered late, as importing the counter imports Triton."""

from __future__ import annotations

import torch


def tell_running_counters() -> None:
    """Gives counters that already count the formulas that were registered since: each took a copy when it was made."""
    if torch.compiler.is_compiling():
        return
    from torch.utils._python_dispatch import _get_current_dispatch_mode_stack
    from torch.utils.flop_counter import flop_registry

    for mode in _get_current_dispatch_mode_stack():
        known = getattr(getattr(mode, "counter", None), "flop_registry", None)
        if isinstance(known, dict):
            for operator, formula in flop_registry.items():
                known.setdefault(operator, formula)
