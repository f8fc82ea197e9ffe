"""What the operator runs on a CPU: its pieces, its bits, and both of its ways against autograd in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gaussian_moe.kernels.expert_pool import eager, pieces
from gaussian_moe.kernels.expert_pool.bits import pack, unpack, words
from gaussian_moe.kernels.expert_pool.op import reach_threshold
from gaussian_moe.kernels.gaussian_weights import eager as weights_eager
from gaussian_moe.kernels.gaussian_weights import gaussian_weights_reference
from gaussian_moe.kernels.product import product, product_over_rows
from tests.gaussian_moe.support import assert_close, assert_same_gradients


@pytest.mark.parametrize("hidden", [1, 4, 31, 32, 33, 64, 100])
def test_bits_come_back(hidden: int) -> None:
    mask = torch.rand(5, hidden) < 0.5
    packed = pack(mask)
    assert packed.shape == (5, 4 * words(hidden))
    assert torch.equal(unpack(packed, hidden, torch.float32).bool(), mask)
    word = packed.view(torch.int32)
    for unit in range(hidden):
        assert torch.equal((word[:, unit // 32] >> (unit % 32)) & 1 == 1, mask[:, unit])


def test_products_take_transposed_views_and_every_dtype() -> None:
    x, weight, bias = torch.randn(9, 5), torch.randn(4, 5), torch.randn(4)
    exact = torch.relu(x.double() @ weight.double().t() + bias.double())
    for dtype, bound in ((torch.float64, 1e-6), (torch.float32, 1e-5), (torch.bfloat16, 0.1), (torch.float16, 0.01)):
        got = product(x.to(dtype), weight.to(dtype), bias.to(dtype), relu=True)
        assert got.dtype == dtype
        assert (got.double() - exact).abs().max() < bound
    across = product(x.t(), weight.repeat(3, 1)[:9].t().contiguous())
    torch.testing.assert_close(across, x.t() @ weight.repeat(3, 1)[:9])
    assert product(x[:0], weight, bias, relu=True).shape == (0, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("count", "left", "right"), [(2500, 3, 4), (2500, 0, 4), (2500, 3, 0), (0, 3, 4)])
def test_a_product_over_rows_of_any_size(count: int, left: int, right: int, dtype: torch.dtype) -> None:
    x, y = torch.randn(count, left, dtype=dtype), torch.randn(count, right, dtype=dtype)
    torch.testing.assert_close(product_over_rows(x, y), x.t() @ y, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_what_may_be_left_out_weighs_less_than_an_eighth_of_what_is_rounded(dtype: torch.dtype) -> None:
    assert 0 < reach_threshold(dtype) < torch.finfo(dtype).eps / 8
    assert reach_threshold(torch.float64) == 0


def rows(values: pieces.Rows, total: int) -> list[int]:
    found: list[int] = torch.arange(total)[values].tolist()
    return found


@given(data=st.data(), clips=st.integers(0, 3), streams=st.integers(1, 3), num_frames=st.integers(1, 12))
def test_every_frame_of_every_window_is_in_one_piece(
    data: st.DataObject, clips: int, streams: int, num_frames: int
) -> None:
    G = data.draw(st.integers(1, 3))
    slack = data.draw(st.integers(0, 12))
    bounds = data.draw(
        st.lists(
            st.tuples(st.integers(0, num_frames), st.integers(0, num_frames)), min_size=clips * G, max_size=clips * G
        )
    )
    first, last = (
        torch.tensor([pick(pair) for pair in bounds], dtype=torch.int64).view(clips, G) for pick in (min, max)
    )
    indices = torch.tensor(
        data.draw(st.lists(st.integers(0, 2), min_size=clips * G, max_size=clips * G)), dtype=torch.int64
    ).view(clips, G)
    counted = torch.zeros(clips * streams * G, num_frames, dtype=torch.int64)
    frame_cost = pieces.PIECE // max(slack * streams, 1)
    for piece in pieces.cut(indices, first, last, streams, num_frames, frame_cost):
        pair_rows = rows(piece.pairs, clips * streams * G)
        places = [rows(values, 10**6) for values in (piece.frames, piece.weights, piece.bits)]
        outside = [False] * len(places[0]) if piece.outside is None else piece.outside.tolist()
        assert [part.rows.start for part in piece.parts] == [0, *(part.rows.stop for part in piece.parts[:-1])]
        assert piece.parts[-1].rows.stop == len(places[0])
        for part in piece.parts:
            pairs = pair_rows[part.pairs]
            assert len(pairs) == part.windows
            length = (part.rows.stop - part.rows.start) // part.windows
            for row in range(part.rows.start, part.rows.stop):
                frame, weight, bit = (values[row] for values in places)
                pair, t = pairs[(row - part.rows.start) // length], frame % num_frames
                clip, stream, g = pair // (streams * G), pair // G % streams, pair % G
                assert frame == (clip * streams + stream) * num_frames + t
                assert weight == (clip * G + g) * num_frames + t
                assert bit == pair * num_frames + t
                assert indices[clip, g] == part.expert
                counted[pair, t] += not outside[row]
    number = torch.arange(num_frames)
    wanted = (number >= first.unsqueeze(-1)) & (number < last.unsqueeze(-1))
    assert torch.equal(
        counted.view(clips, streams, G, num_frames), wanted.long().unsqueeze(1).expand(-1, streams, -1, -1)
    )


@pytest.mark.parametrize("streams", [1, 2])
def test_a_window_joins_longer_ones_where_that_costs_less_than_a_product(streams: int) -> None:
    """A product costs as much as 12 million multiplications beside its own."""
    first, indices = torch.zeros(2, 1, dtype=torch.int64), torch.zeros(2, 1, dtype=torch.int64)
    for shorter, joined in ((16, True), (15, False)):
        last = torch.tensor([[20], [shorter]])
        found = pieces.cut(indices, first, last, streams, 20, 12_000_000 // (4 * streams))
        windows = [part.windows for piece in found for part in piece.parts]
        assert windows == ([2 * streams] if joined else [streams, streams])


def test_long_windows_are_cut_and_many_rows_found_in_turn() -> None:
    clip = torch.zeros(1, 1, dtype=torch.int64)
    found = list(pieces.cut(clip, clip, clip + 2500, 1, 2500, 1))
    assert {(piece.frames.start, piece.frames.stop) for piece in found if isinstance(piece.frames, slice)} == {
        (0, 1024), (1024, 2048), (2048, 2500),
    }  # fmt: skip
    # Products of eight windows each; the rows of 2^16 are found at once.
    clips = torch.zeros(600, 1, dtype=torch.int64)
    found = list(pieces.cut(clips, clips, clips + 128, 1, 128, 1))
    assert [sum(part.windows for part in piece.parts) for piece in found] == [512, 88]
    assert {part.windows for piece in found for part in piece.parts} == {8}


def test_a_frame_costs_its_first_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    cut = pieces.cut

    def noted(*given: Any) -> Any:
        told.append(given[-1])
        return cut(*given)

    monkeypatch.setattr(eager, "cut", noted)
    monkeypatch.setattr(eager, "_prefers_dense", lambda *_: False)
    frames, weight1, bias1 = torch.randn(2, 1, 9, 5), torch.randn(3, 4, 5), torch.randn(3, 4)
    layer = frames, weight1, bias1, torch.tensor([[0, 2], [1, 1]])
    given = *layer, torch.rand(2, 2, 9), None, None, None, None, None
    state, mass, bits = eager.pool_forward(*given, 0.0, True)
    eager.pool_backward(state, mass, *given, bits, 0.0)
    assert told == [4 * 5, 4 * 5]


def test_windows_of_equal_lengths_beside_others_of_different_ones() -> None:
    """What a longer window's product reads of a shorter one is outside, whatever other experts' windows are."""
    first, last = torch.zeros(4, 1, dtype=torch.int64), torch.tensor([[3], [3], [3], [2]])
    (piece,) = pieces.cut(torch.tensor([[0], [0], [1], [1]]), first, last, 1, 5, pieces.PIECE // 4)
    assert [(part.expert, part.windows) for part in piece.parts] == [(0, 2), (1, 2)]
    assert piece.outside is not None
    assert piece.outside.tolist() == [False] * 11 + [True]


def test_a_part_of_rows_is_counted_from_their_start() -> None:
    assert pieces.part_of(slice(5, 11), slice(2, 4)) == slice(7, 9)
    assert rows(pieces.part_of(torch.arange(5, 11), slice(2, 4)), 20) == [7, 8]


def test_long_windows_are_products_of_their_own_and_short_ones_are_gathered() -> None:
    for length, windows in ((256, 1), (255, 2)):
        first = torch.zeros(2, 1, dtype=torch.int64)
        found = list(pieces.cut(first, first, first + length, 1, length, 1))
        assert {part.windows for piece in found for part in piece.parts} == {windows}
        # A run of rows needs no numbers.
        assert all(isinstance(piece.frames, slice) == (windows == 1) for piece in found)
    # Nothing to gather: one window of one stream, however short; of two streams there is.
    alone = torch.zeros(1, 1, dtype=torch.int64)
    for streams in (1, 2):
        (piece,) = pieces.cut(alone, alone, alone + 3, streams, 3, 1)
        assert isinstance(piece.frames, slice) == (streams == 1)
    both = torch.zeros(2, 1, dtype=torch.int64)
    (piece,) = pieces.cut(both, both, both + 3, 2, 3, 1)
    assert not isinstance(piece.frames, slice)


@pytest.mark.parametrize(
    ("clips", "rows", "routed", "experts", "dim", "dense"),
    [
        # All experts are in use; one of 64 is, and what the others cost is more than the pieces of eight clips.
        (8, 60, 7, 7, 64, True),
        (8, 60, 1, 64, 1024, False),
        # At most four of 64 experts have a piece.
        (4, 60, 1, 64, 1024, False),
        # Eight pieces cost more than two small products.
        (8, 60, 1, 2, 1024, True),
        # H E of all rows are held at once: 2^21 numbers, and one clip more.
        (64, 128, 8, 8, 64, True),
        (65, 128, 8, 8, 64, False),
    ],
)
def test_one_product_over_all_experts_where_that_costs_less(
    clips: int, rows: int, routed: int, experts: int, dim: int, dense: bool
) -> None:
    assert eager._prefers_dense(clips, rows, routed, torch.empty(experts, 32, dim, device="meta")) is dense


def expected(frames: Tensor, weight1: Tensor, bias1: Tensor, indices: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """State and mass, every pair written out."""
    hidden = torch.relu(torch.einsum("bstd,bghd->bsgth", frames, weight1[indices]) + bias1[indices][:, None, :, None])
    return torch.einsum("bgt,bsgth->bsgh", weights, hidden), weights.sum(-1)


@pytest.mark.parametrize("way", ["routed", "dense"])
@pytest.mark.parametrize(("rows_of_a_piece", "alone"), [(1024, 256), (1024, 6), (7, 256)])
@pytest.mark.parametrize("kind", ["even", "lengths", "padding"])
@pytest.mark.parametrize("given_weights", [True, False], ids=["weights", "gaussians"])
@pytest.mark.parametrize("streams", [1, 2])
def test_pool_and_its_gradients(
    streams: int,
    given_weights: bool,
    kind: str,
    rows_of_a_piece: int,
    alone: int,
    way: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(eager, "_prefers_dense", lambda *sizes: way == "dense")
    monkeypatch.setattr(pieces, "ROWS", rows_of_a_piece)
    monkeypatch.setattr(pieces, "ALONE", alone)
    monkeypatch.setattr(pieces, "INDEXED", 60)
    B, T, D, E, H, G = 3, 23, 5, 4, 36, 5
    leaves: dict[str, Tensor] = {
        name: torch.randn(shape, dtype=torch.float64).requires_grad_()
        for name, shape in {"frames": (B, streams, T, D), "weight1": (E, H, D), "bias1": (E, H)}.items()
    }
    indices = torch.randint(0, E, (B, G))
    lengths = torch.tensor([T, 7, 0]) if kind == "lengths" else None
    padding = torch.rand(B, T) < 0.4 if kind == "padding" else None
    times = torch.rand(B, T, dtype=torch.float64).sort(-1).values if kind == "padding" else None
    mask = weights_eager.frame_padding(lengths, padding, T)
    profile: dict[str, Tensor | None] = {"weights": None, "centers": None, "stds": None}
    if given_weights:
        leaves["weights"] = torch.randn(B, G, T, dtype=torch.float64).requires_grad_()
        weights = leaves["weights"] if mask is None else leaves["weights"].masked_fill(mask.unsqueeze(1), 0.0)
    else:
        leaves["centers"] = torch.rand(B, G, dtype=torch.float64).requires_grad_()
        leaves["stds"] = (torch.rand(B, G, dtype=torch.float64) * 0.1 + 0.01).requires_grad_()
        places = weights_eager.frame_places(leaves["centers"], times, lengths, T)
        weights = gaussian_weights_reference(leaves["centers"], leaves["stds"], places, mask)
    state, mass = expected(leaves["frames"], leaves["weight1"], leaves["bias1"], indices, weights)
    upstream = torch.randn_like(state), torch.randn_like(mass)
    wanted = torch.autograd.grad((state, mass), list(leaves.values()), upstream)
    values: dict[str, Any] = {**profile, **{name: leaf.detach().clone() for name, leaf in leaves.items()}}
    if mask is not None:
        values["frames"].masked_fill_(mask[:, None, :, None], torch.nan)
    values |= {"indices": indices, "times": times, "lengths": lengths, "padding": padding, "epsilon": 0.0}
    got_state, got_mass, bits = eager.pool_forward(**values, save_bits=True)
    assert_close(got_state, state)
    assert_close(got_mass, mass)
    found = [x for x in eager.pool_backward(*upstream, **values, bits=bits) if x is not None]
    assert_same_gradients(dict(zip(leaves, found, strict=True)), dict(zip(leaves, wanted, strict=True)))


@pytest.mark.parametrize("std", [0.01, 0.03, 0.111])
def test_frames_out_of_reach_change_nothing_that_float32_shows(std: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eager, "_prefers_dense", lambda *sizes: False)
    B, T, D, E, H, G = 2, 200, 16, 4, 32, 3
    frames, weight1, bias1 = torch.randn(B, 1, T, D), torch.randn(E, H, D), torch.randn(E, H)
    inputs = (frames, weight1, bias1, torch.randint(0, E, (B, G)), None, torch.rand(B, G), torch.full((B, G), std))
    (near, _, bits), (all_frames, _, all_bits) = (
        eager.pool_forward(*inputs, None, None, None, epsilon, True) for epsilon in (1e-8, 0.0)
    )
    assert int((bits != 0).sum()) < int((all_bits != 0).sum())
    torch.testing.assert_close(near, all_frames, rtol=2e-6, atol=float(2e-7 * all_frames.abs().max()))
