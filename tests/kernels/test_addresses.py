"""The Triton kernels past 2^31 elements, in memory of which few pages are touched (tests/stress/addresses.py has more).

A wrong address ends the process, so that each test runs in a child of its own.
"""

from __future__ import annotations

import pytest

from tests.kernels.pool_cases import INTERPRETED

pytest.importorskip("triton", reason="Triton is not installed: it is there on Linux only")
if not INTERPRETED:
    pytest.skip("needs TRITON_INTERPRET=1: on a GPU it would need the memory", allow_module_level=True)

addresses = pytest.importorskip("tests.stress.addresses", reason="attacks are no part of the sdist")


@pytest.mark.parametrize(
    "name",
    [
        # Where what is added to an address after each block does not go into 32 bits.
        "frames far apart along dimension 3",
        "weight1 far apart along dimension 1",
    ],
)
def test_elements_far_apart(name: str) -> None:
    assert addresses.in_a_child(addresses.CASES[name]) == ""


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_last_chunk_of_a_very_long_clip(direction: str) -> None:
    assert addresses.in_a_child(addresses.CASES[f"the last of many chunks, {direction}"]) == ""
