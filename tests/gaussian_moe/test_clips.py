"""However clips come - under other leading dimensions, packed, nested - they are pooled as they are one by one."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from gaussian_moe import ProgressiveRefiner, QuestionRouter, Routing, TemporalMoE
from tests.gaussian_moe.support import assert_close, assert_same_gradients, gradients, small_moe, stirred, tensors


def ragged(lengths: list[int]) -> list[Tensor]:
    return [torch.randn(length, 16, dtype=torch.float64) for length in lengths]


def packed(clips: list[Tensor]) -> dict[str, Any]:
    """The clips one behind the other."""
    lengths = torch.tensor([0, *(len(clip) for clip in clips)])
    return {
        "frames": torch.cat(clips),
        "cu_seqlens": lengths.cumsum(0).int(),
        "max_seqlen": int(lengths.max()),
    }


def padded(clips: list[Tensor], value: float = 7.0) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(clips, batch_first=True, padding_value=value)


@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    questions=st.sampled_from([None, 1, 3]),
    num_streams=st.sampled_from([0, 2]),
    timed=st.booleans(),
    per_expert=st.booleans(),
)
def test_packed_is_padded_is_alone(
    lengths: list[int], questions: int | None, num_streams: int, timed: bool, per_expert: bool
) -> None:
    moe = small_moe(num_streams=num_streams).double()
    clips, B = ragged(lengths), len(lengths)
    question = torch.randn(B, *([] if questions is None else [questions]), 16, dtype=torch.float64)
    streams = [ragged(lengths) for _ in range(num_streams)]
    times = [torch.rand(length, dtype=torch.float64).sort().values for length in lengths]
    shared = {"return_routing": True, "per_expert": per_expert}
    got, routing = moe(
        question,
        **packed(clips),
        streams=[torch.cat(stream) for stream in streams] if num_streams else None,
        times=torch.cat(times) if timed else None,
        **shared,
    )
    wanted, _ = moe(
        question,
        padded(clips),
        lengths=torch.tensor(lengths),
        streams=[padded(stream) for stream in streams] if num_streams else None,
        times=padded(times) if timed else None,
        **shared,
    )
    assert_close(got, wanted)
    assert routing.weights is not None
    for b, clip in enumerate(clips):
        alone, its = (
            moe(
                question[b],
                clip,
                streams=torch.stack([stream[b] for stream in streams]) if num_streams else None,
                times=times[b] if timed else None,
                **shared,
            )
            if questions is None
            else moe(
                question[b : b + 1],
                clip[None],
                streams=torch.stack([stream[b] for stream in streams])[None] if num_streams else None,
                times=times[b] if timed else None,
                **shared,
            )
        )
        assert_close(got[b], alone if questions is None else alone[0])
        assert its.weights is not None
        weights = its.weights if questions is None else its.weights[0]
        assert_close(routing.weights[b][..., : len(clip)], weights)
        assert not routing.weights[b][..., len(clip) :].any()


@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=4), num_streams=st.sampled_from([0, 2]))
def test_nested_is_packed(lengths: list[int], num_streams: int) -> None:
    if max(lengths) == 0:
        lengths = [*lengths, 1]
    moe = small_moe(num_streams=num_streams).double()
    clips, question = ragged(lengths), torch.randn(len(lengths), 16, dtype=torch.float64)
    times = [torch.rand(length, dtype=torch.float64).sort().values for length in lengths]
    streams = [ragged(lengths) for _ in range(num_streams)]
    nested, nested_times, *nested_streams = (
        torch.nested.nested_tensor(each, layout=torch.jagged) for each in (clips, times, *streams)
    )
    got = moe(question, nested, times=nested_times, streams=nested_streams or None)
    stacked = torch.stack([torch.cat(stream) for stream in streams]) if num_streams else None
    assert_close(got, moe(question, **packed(clips), times=torch.cat(times), streams=stacked))


def test_gradients_of_packed_and_nested_clips() -> None:
    moe = small_moe().double()
    clips, question = ragged([5, 0, 9, 1]), torch.randn(4, 16, dtype=torch.float64)
    found = []
    for form in ("padded", "packed", "nested"):
        leaves = [clip.clone().requires_grad_() for clip in clips]
        if form == "padded":
            pooled = moe(question, padded(leaves), lengths=torch.tensor([5, 0, 9, 1]))
        elif form == "packed":
            pooled = moe(question, **packed(leaves))
        else:
            pooled = moe(question, torch.nested.as_nested_tensor(leaves, layout=torch.jagged))
        found.append(gradients(pooled, {str(number): leaf for number, leaf in enumerate(leaves)}))
    for other in found[1:]:
        for name, wanted in found[0].items():
            assert wanted is not None
            # A clip without frames may have no gradient at all.
            assert_close(torch.zeros_like(wanted) if other[name] is None else other[name], wanted)  # type: ignore[arg-type]


LEADING: list[tuple[int, ...]] = [(1,), (2, 3), (2, 1, 2), (0, 3)]


# A clip without batch dimension has one question.
@pytest.mark.parametrize(("leading", "questions"), [((), None), *((each, q) for each in LEADING for q in (None, 2))])
@pytest.mark.parametrize("num_streams", [0, 2])
def test_leading_dimensions(leading: tuple[int, ...], questions: int | None, num_streams: int) -> None:
    moe = small_moe(num_streams=num_streams).double()
    axis = () if questions is None else (questions,)
    question = torch.randn(*leading, *axis, 16, dtype=torch.float64)
    frames = torch.randn(*leading, 5, 16, dtype=torch.float64)
    streams = torch.randn(*leading, num_streams, 5, 16, dtype=torch.float64) if num_streams else None
    count = torch.Size(leading).numel()

    def flat(x: Tensor) -> Tensor:
        return x.reshape(count, *x.shape[len(leading) :])

    rows = torch.arange(5) + torch.rand(*leading, 5, dtype=torch.float64).cumsum(-1)
    timings: list[dict[str, Any]] = [
        {},
        {"lengths": torch.randint(0, 6, leading)},
        {"key_padding_mask": torch.rand(*leading, 5) < 0.5},
        {"times": rows, "duration": torch.full(leading, 12.0, dtype=torch.float64)},
        {"times": torch.arange(5.0, dtype=torch.float64), "duration": 6.0},
    ]
    for timing in timings:
        got, routing = moe(question, frames, streams=streams, return_routing=True, **timing)
        flattened = {
            name: flat(value) if isinstance(value, Tensor) and value.shape[: len(leading)] == leading else value
            for name, value in timing.items()
        }
        if timing.get("times") is not None and timing["times"].dim() == 1 and leading:
            flattened["times"] = timing["times"]
        wanted, its = moe(
            flat(question),
            flat(frames),
            streams=None if streams is None else flat(streams),
            return_routing=True,
            **flattened,
        )
        assert got.shape == (*leading, *wanted.shape[1:])
        assert_close(flat(got), wanted)
        for field, same in zip(tensors(routing), tensors(its), strict=True):
            assert field.shape == (*leading, *same.shape[1:])
            assert_close(flat(field), same)
        assert_close(moe(question, frames, streams=streams, routing=routing, **timing), got)
        assert_close(moe.router(question, frames, **timing).gates, routing.gates)


@pytest.mark.slow
def test_a_packed_batch_compiles_to_one_graph_for_every_size() -> None:
    moe = small_moe()
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(moe, fullgraph=True, backend=counter, dynamic=True)
    for lengths in ([3, 5, 2], [7, 2], [4, 9, 6, 3]):
        given_as = packed([clip.float() for clip in ragged(lengths)])
        question = torch.randn(len(lengths), 16)
        assert_close(compiled(question, **given_as), moe(question, **given_as), 1e-6)
    assert counter.frame_count == 1
    torch._dynamo.reset()


QUESTION, FRAMES, OFFSETS = torch.zeros(2, 16), torch.zeros(7, 16), torch.tensor([0, 3, 7])
PACKED = {"frames": FRAMES, "cu_seqlens": OFFSETS, "max_seqlen": 4}
NESTED = torch.nested.nested_tensor([torch.zeros(3, 16), torch.zeros(4, 16)], layout=torch.jagged)
STRIDED = torch.nested.nested_tensor([torch.zeros(3, 16), torch.zeros(4, 16)])
MANY = {"frames": torch.zeros(2, 3, 5, 16), "question": torch.zeros(2, 3, 16)}
TIMES = torch.arange(5.0)
WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({**PACKED, "max_seqlen": None}, ["cu_seqlens needs max_seqlen", "cu_seqlens.diff().max()"]),
    ({**PACKED, "cu_seqlens": None}, ["max_seqlen", "give cu_seqlens too"]),
    ({**PACKED, "cu_seqlens": OFFSETS.float()}, ["cu_seqlens", "int32 or int64", "torch.float32"]),
    ({**PACKED, "cu_seqlens": OFFSETS[None]}, ["cu_seqlens", "[B + 1]", "[1, 3]"]),
    ({**PACKED, "cu_seqlens": OFFSETS[:0]}, ["cu_seqlens", "0 first and N last"]),
    ({**PACKED, "cu_seqlens": torch.tensor([0, 2, 4, 7])}, ["question", "[3, 16]", "[2, 16]"]),
    ({**PACKED, "frames": FRAMES[None]}, ["frames", "[N, D]", "[1, 7, 16]"]),
    ({**PACKED, "lengths": torch.tensor([3, 4])}, ["cu_seqlens", "drop key_padding_mask and lengths"]),
    ({**PACKED, "times": torch.zeros(2, 4)}, ["times", "[7]", "[2, 4]"]),
    ({"frames": NESTED, "lengths": torch.tensor([3, 4])}, ["nested frames", "drop key_padding_mask and lengths"]),
    ({"frames": STRIDED}, ["frames must be nested with layout torch.jagged, got torch.strided"]),
    ({"frames": NESTED, "times": STRIDED}, ["times must be nested with layout torch.jagged"]),
    ({**PACKED, "frames": NESTED}, ["nested frames", "drop cu_seqlens"]),
    ({"frames": torch.zeros(2, 16)}, ["frames", "[B, T, 16]", "a clip without batch dimension"]),
    ({"frames": torch.zeros(2, 3, 5, 16)}, ["question", "[2, 3, 16]", "[2, 16]", "streams="]),
    ({"frames": torch.zeros(2, 5, 16), "lengths": torch.tensor([[3, 4]])}, ["lengths", "[2]", "[1, 2]"]),
    ({"frames": torch.zeros(5, 16), "question": torch.zeros(16), "lengths": torch.tensor([3])}, ["lengths", "[]"]),
    # As many clips, in another order.
    ({**MANY, "key_padding_mask": torch.zeros(3, 2, 5).bool()}, ["key_padding_mask", "[2, 3, 5]", "[3, 2, 5]"]),
    ({**MANY, "lengths": torch.full((3, 2), 5)}, ["lengths", "[2, 3]", "[3, 2]"]),
    ({**MANY, "times": TIMES.expand(3, 2, 5)}, ["times", "[2, 3, 5]", "[3, 2, 5]"]),
    ({**MANY, "times": TIMES, "duration": torch.ones(3, 2)}, ["duration", "[2, 3]", "[3, 2]"]),
]


@pytest.mark.parametrize(("arguments", "parts"), WRONG)
@pytest.mark.parametrize("layer", [small_moe(), QuestionRouter(16, heads=4)], ids=["TemporalMoE", "QuestionRouter"])
def test_wrong_forms(layer: Any, arguments: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(ValueError, match=re.escape(parts[0])) as raised:
        layer(**{"question": QUESTION, **arguments})
    for part in parts:
        assert part in str(raised.value)


def test_packed_streams_have_the_frames_shape() -> None:
    moe = small_moe(num_streams=2)
    for streams, part in ((torch.zeros(2, 6, 16), "[S, 7, 16]"), ([FRAMES, FRAMES[1:]], "streams[1]")):
        with pytest.raises(ValueError, match=re.escape(part)):
            moe(QUESTION, **PACKED, streams=streams)


def test_a_routing_of_several_windows_is_restored() -> None:
    moe = TemporalMoE(16, 5, 3, heads=4, num_gaussians=2).eval()
    question, frames = torch.randn(2, 3, 16), torch.randn(2, 3, 5, 16)
    pooled, routing = moe(question, frames, return_routing=True)
    assert isinstance(routing, Routing)
    assert routing.shares is not None
    assert routing.shares.shape == routing.centers.shape == (2, 3, 3, 2)
    assert_close(moe(question, frames, routing=routing._replace(weights=None)), pooled, 1e-6)


def test_leading_dimensions_take_gradients() -> None:
    moe = small_moe().double()
    frames, question = torch.randn(2, 3, 5, 16, dtype=torch.float64), torch.randn(2, 3, 16, dtype=torch.float64)
    found = []
    for shape in ((2, 3), (6,)):
        leaf = frames.clone().requires_grad_()
        pooled = moe(question.reshape(*shape, 16), leaf.reshape(*shape, 5, 16))
        found.append(gradients(pooled.reshape(6, 16), {"frames": leaf}))
    assert_same_gradients(found[0], found[1])


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (2, 1, 3)])
def test_refiner(leading: tuple[int, ...]) -> None:
    refiner = stirred(ProgressiveRefiner(16, heads=4)).double()
    question = torch.randn(*leading, 16, dtype=torch.float64)
    pooled = torch.randn(*leading, 2, 16, dtype=torch.float64)
    got = refiner(question, pooled)
    assert got.shape == question.shape
    assert_close(got.reshape(-1, 16), refiner(question.reshape(-1, 16), pooled.reshape(-1, 2, 16)))
