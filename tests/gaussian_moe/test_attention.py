"""Attention is PyTorch's multi-head attention, by either way of computing it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from gaussian_moe.attention import Attention, _held
from tests.gaussian_moe.support import assert_close, assert_same_gradients, gradients, stirred

DIM, HEADS = 16, 4


# Of seven source positions, the source is projected for four queries and more.
BRANCHES = pytest.mark.parametrize("queries", [1, 3, 4, 20])


def pair(dropout: float = 0.0) -> tuple[Attention, nn.MultiheadAttention]:
    ours = stirred(Attention(DIM, HEADS, dropout)).double()
    theirs = nn.MultiheadAttention(DIM, HEADS, dropout, batch_first=True).double().eval()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def test_the_way_with_fewer_products_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = pair()
    # L D + L (heads - 1) T against T D.
    for L, T, absorbed in ((1, 1, False), (1, 2, True), (4, 16, False), (4, 17, True), (6, 999, False)):
        assert ours._absorbs(L, T) is absorbed
    # Whatever the source's length is, in a program for all of them.
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert [Attention(18, 3)._absorbs(L, 1) for L in (1, 8, 9)] == [True, True, False]


@pytest.mark.parametrize(("queries", "branch"), [(1, "_absorbed"), (3, "_absorbed"), (4, "_projected")])
def test_branches_are_both_tested(queries: int, branch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = pair()
    other = {"_absorbed", "_projected"} - {branch}
    monkeypatch.setattr(ours, other.pop(), None)
    ours(torch.zeros(3, queries, DIM, dtype=torch.float64), torch.zeros(3, 7, DIM, dtype=torch.float64))


@BRANCHES
@pytest.mark.parametrize("padded", [False, True])
def test_equals_torch(queries: int, padded: bool) -> None:
    ours, theirs = pair()
    query, source = torch.randn(3, queries, DIM, dtype=torch.float64), torch.randn(3, 7, DIM, dtype=torch.float64)
    leaves = {"query": query.requires_grad_(), "source": source.requires_grad_()}
    mask = torch.arange(7) >= torch.tensor([[7], [1], [4]]) if padded else None
    got = ours(query, source, mask)
    wanted, _ = theirs(query, source, source, key_padding_mask=mask, need_weights=False)
    assert_close(got, wanted)
    first = gradients(got, {**leaves, **dict(ours.named_parameters())})
    second = gradients(wanted, {**leaves, **dict(theirs.named_parameters())})
    d_bias, other_bias = first["in_proj_bias"], second["in_proj_bias"]
    assert d_bias is not None
    assert other_bias is not None
    # The key's bias has gradient 0, which one way computes exactly and the other to rounding.
    assert other_bias[DIM : 2 * DIM].abs().max() < 1e-12
    assert_same_gradients(first, second)


@BRANCHES
def test_self_attention_equals_torch(queries: int) -> None:
    ours, theirs = pair()
    x = torch.randn(3, queries, DIM, dtype=torch.float64, requires_grad=True)
    got, (wanted, _) = ours(x, x), theirs(x, x, x, need_weights=False)
    assert_close(got, wanted)
    assert_same_gradients(gradients(got, {"x": x}), gradients(wanted, {"x": x}))


@BRANCHES
def test_leading_shapes_broadcast(queries: int) -> None:
    ours, _ = pair()
    query = torch.randn(2, 1, queries, DIM, dtype=torch.float64)
    source, mask = torch.randn(2, 3, 7, DIM, dtype=torch.float64), torch.rand(2, 3, 7) < 0.4
    got = ours(query, source, mask)
    assert got.shape == (2, 3, queries, DIM)
    for q in range(3):
        assert_close(got[:, q], ours(query[:, 0], source[:, q], mask[:, q]))


@BRANCHES
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("length", [0, 3])
def test_attention_over_nothing_is_zero_before_the_output_projection(
    queries: int, dtype: torch.dtype, length: int
) -> None:
    ours = stirred(Attention(DIM, HEADS)).to(dtype)
    query = torch.randn(2, queries, DIM).to(dtype).requires_grad_()
    source = torch.randn(2, length, DIM).to(dtype).requires_grad_()
    mask = torch.tensor([[True], [False]]).expand(2, length) if length else None
    attended = ours(query, source, mask)
    assert torch.equal(attended[0], ours.out_proj.bias.expand(queries, DIM))
    attended.sum().backward()
    for leaf in (query, source, *ours.parameters()):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
    assert source.grad is not None
    assert not source.grad[0].any()


def mean_and_spread(ours: Attention, query: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    many = ours(query.expand(4000, -1, -1), source.expand(4000, -1, -1))
    return many.mean(0), many.std(0)


@pytest.mark.parametrize("queries", [1, 8])
def test_dropout_is_active_in_training_only_and_unbiased(queries: int) -> None:
    ours = stirred(Attention(DIM, HEADS, dropout=0.3))
    query, source = torch.randn(1, queries, DIM), torch.randn(1, 5, DIM)
    with torch.no_grad():
        expected = ours(query, source)
        assert torch.equal(ours(query, source), expected)
        mean, spread = mean_and_spread(ours.train(), query, source)
    assert bool((spread > 1e-3).all())
    # Five standard errors of the mean of 4000 draws.
    assert bool(((mean - expected[0]).abs() < 5 * spread / 4000**0.5).all())


def test_both_ways_drop_the_same_amount() -> None:
    """The spread of a query's result does not depend on how many queries come with it."""
    ours = stirred(Attention(DIM, HEADS, dropout=0.3)).train()
    query, source = torch.randn(1, 1, DIM), torch.randn(1, 5, DIM)
    with torch.no_grad():
        _, few = mean_and_spread(ours, query, source)
        _, many = mean_and_spread(ours, query.expand(1, 8, DIM), source)
    torch.testing.assert_close(many.mean(0), few[0], rtol=0.1, atol=0.0)


def test_parameters_and_initialisation_are_torchs() -> None:
    torch.manual_seed(5)
    ours = Attention(64, 4)
    torch.manual_seed(5)
    theirs = nn.MultiheadAttention(64, 4)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, wanted in theirs.state_dict().items():
        got = ours.state_dict()[name]
        assert got.shape == wanted.shape
        assert got.std().item() == pytest.approx(wanted.std().item(), rel=0.05, abs=1e-12)
        assert got.abs().max().item() == pytest.approx(wanted.abs().max().item(), rel=0.05, abs=1e-12)


@pytest.mark.slow
def test_more_sequences_than_a_launch_can_count() -> None:
    ours, _ = pair()
    query = torch.randn(2**15 + 1, 2, 4, DIM, dtype=torch.float64)
    with torch.no_grad():
        whole = ours(query, query)
        for part in (slice(0, 2), slice(-2, None)):
            assert_close(whole[part], ours(query[part].clone(), query[part].clone()))


@pytest.mark.parametrize("leading", [(6,), (2, 3), (2, 1, 3)])
def test_any_leading_shape_reaches_a_fused_kernel(leading: tuple[int, ...]) -> None:
    """Fused kernels take one leading dimension; others would silently be computed in plain operations."""
    ours = stirred(Attention(DIM, HEADS))
    x = torch.randn(*leading, 4, DIM)
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as recorded:
        ours(x, x)
    assert any("flash_attention" in event.key for event in recorded.key_averages())


def test_only_half_precision_holds_large_queries_back() -> None:
    queries, source = torch.full((1, 2, 4), 300.0), torch.full((1, 3, 4), 300.0)
    for dtype in (torch.float32, torch.bfloat16):
        given = queries.to(dtype)
        held, factor = _held(given, source.to(dtype))
        assert held is given
        assert factor is None
    held, factor = _held(queries.half(), source.half())
    assert factor is not None
    # 300 x 300 x 4 does not fit; what is multiplied back is a power of 2, so that nothing is rounded.
    assert float((held.double() @ source.double().mT).amax()) < 2**16
    assert torch.equal(held.double() * factor.double(), queries.double())
    assert float(factor.log2().frac().abs().amax()) == 0
