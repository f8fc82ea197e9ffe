"""The order of experts that a program for ONNX counts is that of a stable sort."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gaussian_moe._order import descending


@given(st.lists(st.lists(st.integers(-2, 2), min_size=4, max_size=4), max_size=5))
def test_equal_scores_are_in_the_order_of_experts(rows: list[list[int]]) -> None:
    scores = torch.tensor(rows, dtype=torch.float32).view(-1, 4)
    values, indices = descending(scores)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.compiler, "is_exporting", lambda: True)
        counted, places = descending(scores)
    assert torch.equal(counted, values)
    assert torch.equal(places, indices)
    assert indices.tolist() == [sorted(range(4), key=lambda e: (-row[e], e)) for row in rows]
