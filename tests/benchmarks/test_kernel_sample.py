"""The sample of compilations leaves out no block, no dtype and no form of a kernel."""

from __future__ import annotations

import pytest

from benchmarks.ahead_of_time import LISTS, _names
from benchmarks.kernel_sample import sample
from benchmarks.machine_code import TARGETS

pytest.importorskip("triton", reason="lists Triton kernels")


def _parts(name: str) -> tuple[str, str, str, str]:
    """Kernel, dtype, form and block."""
    kernel, _, inside = name.removesuffix("]").partition("[")
    parts = inside.split(",")
    block = parts.pop() if parts[-1].isdecimal() else ""
    dtype = parts.pop(0) if kernel.startswith("expert_pool") and inside else ""
    return kernel, dtype, ",".join(parts), block


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_left_out(target: str) -> None:
    names = [name for module in LISTS for name in _names(module, target)]
    chosen = sample(names)
    assert chosen < set(names)
    assert len(chosen) < 0.5 * len(names)
    every, kept = [_parts(name) for name in names], [_parts(name) for name in chosen]
    for what in (
        lambda kernel, dtype, form, block: (kernel, "bits" in form, dtype, block),
        lambda kernel, dtype, form, block: (kernel, form),
    ):
        assert {what(*each) for each in kept} == {what(*each) for each in every}


def test_the_fullest_form_and_the_largest_block_are_kept() -> None:
    names = [
        f"pool.forward[{dtype},{form},{block}]"
        for dtype in ("bf16", "ieee")
        for form in ("a", "a,b")
        for block in (64, 128)
    ]
    assert sample(names) == {
        *(f"pool.forward[{dtype},a,b,{block}]" for dtype in ("bf16", "ieee") for block in (64, 128)),
        "pool.forward[bf16,a,128]",
    }
    assert sample(["pool.route"]) == {"pool.route"}
