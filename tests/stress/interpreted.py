"""Tries of windows and pooling on the Triton kernels themselves: `python -m tests.stress.interpreted AMOUNT SEED`.

With TRITON_INTERPRET=1 in the environment, "auto" runs them on a CPU. Prints what was tried and what failed as JSON.
"""

from __future__ import annotations

import json
import sys
import warnings

import torch

from gaussian_moe.kernels import runtime

from .draw import Draw
from .pool_checks import try_pool
from .window_checks import try_windows


def main() -> None:
    """Every other try is one of pooling."""
    amount, seed = (int(text) for text in sys.argv[1:])
    assert runtime.INTERPRETED
    torch.set_num_threads(1)
    # The interpreter is numpy, which remarks on infinities that kernels pass through on purpose.
    warnings.filterwarnings("ignore", category=RuntimeWarning)
    failures = []
    for number in range(amount):
        draw = Draw(seed, 1_000_000 + number)
        if problem := (try_pool if number % 2 else try_windows)(draw, True):
            failures.append(f"{number}: {problem}")
        print(f"{number + 1} done", file=sys.stderr, flush=True)
    print(json.dumps({"tried": amount, "failures": failures}))


if __name__ == "__main__":
    main()
