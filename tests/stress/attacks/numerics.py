"""Numbers at the ends of what is allowed, in every dtype, on every path; sizes past 2^31 elements."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ..attack import Attack, Defect, Outcome, Run
from ..draw import Draw
from ..layer_checks import try_layer
from ..pool_checks import try_pool
from ..window_checks import try_windows

ROOT = Path(__file__).resolve().parents[3]


def _drawn(try_one: Callable[[Draw, bool], str]) -> Callable[[Run], Outcome]:
    def run(given: Run) -> Outcome:
        failures = []
        for number in range(given.amount):
            if problem := try_one(Draw(given.seed, number), False):
                failures.append(f"{number}: {problem}")
            given.tell(number + 1)
        return Outcome(given.amount, tuple(failures))

    return run


def _in_the_interpreter(given: Run, module: str, *arguments: str) -> Outcome:
    """A module that prints its outcome, in a process where the kernels run on the CPU."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(given.amount), *arguments],
        cwd=ROOT,
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stdout is not None
    last = ""
    for line in process.stderr:
        if found := re.fullmatch(r"(\d+) done\n", line):
            given.tell(int(found[1]))
        else:
            last = line
    text = process.stdout.read()
    if process.wait():
        return Outcome(given.amount, (f"the process ended with {process.returncode}: {last.strip()}",))
    value = json.loads(text)
    return Outcome(value["tried"], tuple(value["failures"]))


def _kernels(given: Run) -> Outcome:
    return _in_the_interpreter(given, "tests.stress.interpreted", str(given.seed))


def _addresses(given: Run) -> Outcome:
    return _in_the_interpreter(given, "tests.stress.addresses")


ATTACKS = (
    Attack(
        "numerics-windows",
        "Numerics",
        "weights over time in four dtypes: stds from 1e-30 to 1e3, centers from -0.5 to 1.5, on and between frames, 0 "
        "to 65,536 frames, 0 to 256 windows, masks, lengths from 0, times in and out of order, all windows and "
        "normalizations, both backends, with gradients",
        "finite wherever the definition is, and as near to float64 as some roundings of times, center and std",
        _drawn(try_windows),
        full=3000,
        sample=25,
        unit="cases",
        defects=(
            Defect(
                "`gaussian_weights` gave NaN on the torch path for a std below 1e-20, and a NaN gradient for one below "
                "1e-14",
                "tests/gaussian_moe/test_extremes.py::test_windows_narrower_than_any_number_see_the_nearest_frame",
                "narrower than any number (a std below 1e-20, or 0)",
            ),
            Defect(
                "the operator and the kernels gave NaN for a std of 0 or too small to be divided by",
                "tests/gaussian_moe/test_extremes.py::test_windows_narrower_than_any_number_see_the_nearest_frame",
                "narrower than any number (a std below 1e-20, or 0)",
            ),
        ),
    ),
    Attack(
        "numerics-pool",
        "Numerics",
        "pooling in four dtypes: frames of 1e-6 to 1e6, logits of 1e4, K = E, E to 256, B = 0, streams, questions, NaN "
        "in padding, windows as above, both backends, with all gradients",
        "finite wherever the dtype holds what the definition computes, and off by no more than rounding of its terms",
        _drawn(try_pool),
        full=1500,
        sample=12,
        unit="cases",
    ),
    Attack(
        "numerics-layers",
        "Numerics",
        "all layers, losses, statistics and spans in four dtypes: inputs of 1e-6 to 1e6, logits of 1e4",
        "finite, routings and losses in float32 or wider, and no further from float64 than float64 moves when inputs "
        "and parameters are rounded",
        _drawn(try_layer),
        full=500,
        sample=6,
        unit="cases",
        defects=(
            Defect(
                "features of some hundreds in float16 gave NaN, as their attention scores did not fit",
                "tests/gaussian_moe/test_extremes.py::test_large_features_have_scores_that_float16_does_not_hold",
                "Attention in float16 takes features whose scores exceed 65,504",
            ),
            Defect(
                "where all gates but one rounded to 0 the other experts in use were the first ones, even such as had "
                "dropped out, and not those with the next logits",
                "tests/gaussian_moe/test_router_noise.py::"
                "test_an_expert_that_drops_out_is_not_chosen_where_other_gates_are_nothing",
                "the first ones were taken, even such as had dropped out",
            ),
        ),
    ),
    Attack(
        "numerics-kernels",
        "Numerics",
        "the Triton kernels under the interpreter: windows and pooling as above, up to 64 frames",
        "as above",
        _kernels,
        full=150,
        sample=2,
        unit="cases",
    ),
    Attack(
        "addresses",
        "Numerics",
        "kernels on tensors past 2^31 elements, of which few pages are touched: the last clip, weight, expert and "
        "chunk of very many, and each argument with its elements far apart along each dimension",
        "the same bits as in little memory",
        _addresses,
        full=17,
        sample=1,
        unit="layouts",
        defects=(
            Defect(
                "the kernels read outside of their tensors where the units of W1 lay 2^24 numbers apart",
                "tests/kernels/test_addresses.py::test_elements_far_apart",
                "they read outside of tensors whose channels or hidden units lay 2^24 numbers apart",
            ),
            Defect(
                "of a clip cut into very many chunks the kernels left out frames: blocks times chunks did not go into "
                "32 bits",
                "tests/kernels/test_addresses.py::test_the_last_chunk_of_a_very_long_clip",
                "left out frames of a clip cut into very many chunks",
            ),
        ),
    ),
)
