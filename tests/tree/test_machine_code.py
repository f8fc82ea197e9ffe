"""Every kernel with every default configuration, compiled for every target with no GPU.

Not with every dtype in every form: `python -m benchmarks kernels` compiles those, too.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.ahead_of_time import Failure, examine
from benchmarks.machine_code import TARGETS, MachineCode

pytest.importorskip("triton", reason="compiles Triton kernels")

# Matrix products: the forward pass, and of the backward pass those for the frames and for the experts' parameters.
PRODUCTS = ("expert_pool.forward", "expert_pool.backward_frames", "expert_pool.backward_experts")


def compiled(target: str, folder: Path) -> list[MachineCode]:
    """A sample of what the launchers name. A cache that the environment names is used: nothing is done twice."""
    with pytest.MonkeyPatch.context() as patch:
        if "TRITON_CACHE_DIR" not in os.environ:
            patch.setenv("TRITON_CACHE_DIR", str(folder))
        results = examine([target], "", jobs=1, sampled=True)
    failures = {result.name: result.reason for result in results if isinstance(result, Failure)}
    assert failures == {}
    return [result for result in results if isinstance(result, MachineCode)]


def check_room(results: list[MachineCode]) -> None:
    """No register is spilled (on AMD: no vector register), and a program fits its multiprocessor."""
    assert {result.name: result.spills for result in results if result.spills} == {}
    assert {result.name: result.occupancy for result in results if result.occupancy.programs == 0} == {}


def check_tensor_cores(results: list[MachineCode], instruction: str) -> None:
    """Every product in these results uses the instruction, and there is one of each kind."""
    for kernel in PRODUCTS:
        products = [result for result in results if result.name.startswith(f"{kernel}[")]
        assert products, kernel
        for result in products:
            assert any(name.startswith(instruction) for name in result.tensor_cores), result
            assert not result.serialized, result


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_every_kernel_compiles_and_has_room(target: str, tmp_path: Path) -> None:
    results = compiled(target, tmp_path)
    assert {result.name.split(".")[0] for result in results} == {"gaussian_weights", "expert_pool"}
    check_room(results)
    half = [result for result in results if "[fp16," in result.name or "[bf16," in result.name]
    # Triton has had no tensor-core instructions for sm_75 since 3.3.
    instructions = {"sm_80": "HMMA", "sm_90": "HGMMA", "sm_100": "UTCHMMA", "gfx942": "v_mfma"}
    if target in instructions:
        check_tensor_cores(half, instructions[target])
