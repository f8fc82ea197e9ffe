"""The statistics: against slow loops over questions, without padding, and without a wait for the device."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gaussian_moe import Routing, RoutingStatistics, routing_statistics
from tests.gaussian_moe.routings import random_routing, relabelled
from tests.gaussian_moe.support import assert_close, small_moe


def slow_statistics(routing: Routing, keep: list[int]) -> dict[str, list[float]]:
    """By loops over the questions that count, of a flattened batch."""
    axes = routing.gates.dim() - 1
    gates, indices, centers, stds, logits = (field.flatten(0, axes - 1) for field in routing[:5])
    num_experts, top_k = logits.shape[-1], gates.shape[-1]
    found: dict[str, list[float]] = {name: [0.0] * num_experts for name in ("load", "importance", "center", "std")}
    found |= {"entropy": [0.0], "gate_entropy": [0.0]}
    uses = [0] * num_experts
    for place in keep:
        for slot in range(top_k):
            expert = int(indices[place, slot])
            uses[expert] += 1
            found["load"][expert] += 1 / (len(keep) * top_k)
            found["importance"][expert] += float(gates[place, slot]) / len(keep)
            found["center"][expert] += float(centers[place, slot])
            found["std"][expert] += float(stds[place, slot])
        for name, scores in (("entropy", logits[place].softmax(-1)), ("gate_entropy", gates[place])):
            found[name][0] -= sum(p * math.log(p) for p in scores.tolist()) / len(keep)
    for name in ("center", "std"):
        found[name] = [total / max(count, 1) for total, count in zip(found[name], uses, strict=True)]
    return found


def assert_statistics(got: RoutingStatistics, wanted: dict[str, list[float]]) -> None:
    for name, values in wanted.items():
        field = getattr(got, name)
        assert_close(field.reshape(-1), torch.tensor(values, dtype=field.dtype), 1e-9, name)


@given(
    padded=st.lists(st.booleans(), min_size=6, max_size=6),
    lengths=st.lists(st.integers(0, 9), min_size=2, max_size=2),
    top_k=st.sampled_from([1, 3, 5]),
    seed=st.integers(0, 99),
)
def test_against_slow_loops_without_padding(padded: list[bool], lengths: list[int], top_k: int, seed: int) -> None:
    """Padding holds NaN. Questions of an empty clip are as good as padded."""
    routing = random_routing(2, 3, top_k=top_k, seed=seed)
    keep = [place for place in range(6) if not padded[place] and lengths[place // 3]]
    gone = torch.tensor([place not in keep for place in range(6)]).view(2, 3, 1)
    fields: dict[str, Any] = {
        name: getattr(routing, name).masked_fill(gone, torch.nan) for name in ("gates", "centers", "stds", "logits")
    }
    clips = {"lengths": torch.tensor(lengths)}
    mask = torch.tensor(padded).view(2, 3)
    got = routing_statistics(routing._replace(**fields), question_padding_mask=mask, **clips)
    assert_statistics(got, slow_statistics(routing, keep))
    assert int(got.questions) == len(keep)
    by_mask = torch.arange(9) >= clips["lengths"].unsqueeze(-1)
    again = routing_statistics(routing._replace(**fields), question_padding_mask=mask, key_padding_mask=by_mask)
    for first, second in zip(got, again, strict=True):
        assert torch.equal(first, second)


@given(order=st.permutations(range(5)), seed=st.integers(0, 99))
def test_the_names_of_experts_are_all_that_changes(order: list[int], seed: int) -> None:
    routing = random_routing(4, seed=seed)
    got, wanted = routing_statistics(relabelled(routing, order)), routing_statistics(routing)
    for name in ("load", "importance", "center", "std"):
        assert_close(getattr(got, name)[torch.tensor(order)], getattr(wanted, name))
    assert_close(got.entropy, wanted.entropy)
    assert_close(got.gate_entropy, wanted.gate_entropy)


def test_a_layers_padding_does_not_count() -> None:
    """What a layer says of two clips, one of which is empty, and of the other clip alone."""
    moe = small_moe().double()
    question, frames = torch.randn(2, 3, 16, dtype=torch.float64), torch.randn(2, 9, 16, dtype=torch.float64)
    lengths = torch.tensor([5, 0])
    routing = moe(question, frames, lengths=lengths, return_routing=True)[1]
    alone = moe(question[:1], frames[:1, :5], return_routing=True)[1]
    for got, wanted in zip(routing_statistics(routing, lengths=lengths), routing_statistics(alone), strict=True):
        assert_close(got, wanted)


def test_bounds_and_shares() -> None:
    statistics = routing_statistics(random_routing(50))
    assert_close(statistics.load.sum(), torch.tensor(1.0, dtype=torch.float64))
    assert_close(statistics.importance.sum(), torch.tensor(1.0, dtype=torch.float64))
    even = routing_statistics(random_routing(4)._replace(logits=torch.zeros(4, 5)))
    assert math.isclose(float(even.entropy), math.log(5), rel_tol=1e-6)
    sure = random_routing(4)._replace(logits=torch.tensor([[200.0, 0.0, 0.0, 0.0, -torch.inf]]).expand(4, 5))
    assert float(routing_statistics(sure).entropy) == 0.0


def test_an_unused_expert_and_an_empty_batch_are_0_and_not_nan() -> None:
    routing = random_routing(3, top_k=1)._replace(indices=torch.full((3, 1), 2))
    statistics = routing_statistics(routing)
    assert statistics.std.bool().tolist() == [False, False, True, False, False]
    for field in routing_statistics(random_routing(0)):
        assert not bool(field.any())


def test_several_gaussians_are_one_mixture() -> None:
    routing = random_routing(1, num_experts=1, top_k=1, num_gaussians=3)
    assert routing.shares is not None
    generator = torch.Generator().manual_seed(1)
    which = torch.multinomial(routing.shares[0, 0], 200_000, replacement=True, generator=generator)
    noise = torch.randn(200_000, generator=generator, dtype=torch.float64)
    drawn = routing.centers[0, 0][which] + noise * routing.stds[0, 0][which]
    statistics = routing_statistics(routing)
    assert math.isclose(float(statistics.center), float(drawn.mean()), abs_tol=5e-3)
    assert math.isclose(float(statistics.std), float(drawn.std()), abs_tol=5e-3)


def test_detached_small_and_on_the_routings_device() -> None:
    """On a device that has no values nothing can wait for one."""
    routing = random_routing(2, 3)._replace(logits=torch.randn(2, 3, 5, requires_grad=True))
    assert not any(field.requires_grad for field in routing_statistics(routing))
    assert max(field.numel() for field in routing_statistics(routing)) == 5
    nowhere = Routing._make(None if field is None else field.to("meta") for field in routing)
    statistics = routing_statistics(nowhere, lengths=torch.ones(2, dtype=torch.int64, device="meta"))
    assert {field.device.type for field in statistics} == {"meta"}
    assert {value.device.type for value in statistics.as_dict().values()} == {"meta"}


def test_names_for_a_logger() -> None:
    statistics = routing_statistics(random_routing(4, num_experts=3, top_k=2))
    scalars = statistics.as_dict("val/")
    per_expert = [f"val/{name}/{expert}" for name in ("load", "importance", "center", "std") for expert in range(3)]
    assert list(scalars) == ["val/entropy", "val/gate_entropy", *per_expert]
    assert all(value.shape == () for value in scalars.values())
    assert float(scalars["val/load/2"]) == float(statistics.load[2])


def test_one_graph() -> None:
    routing, mask = random_routing(2, 3), torch.tensor([[False, True, False], [False, False, True]])
    torch._dynamo.reset()
    compiled = torch.compile(routing_statistics, fullgraph=True, backend="eager")
    lengths = torch.tensor([9, 0])
    got = compiled(routing, question_padding_mask=mask, lengths=lengths)
    for ours, theirs in zip(got, routing_statistics(routing, question_padding_mask=mask, lengths=lengths), strict=True):
        assert_close(ours, theirs)


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match=r"question_padding_mask must have shape \[2\], got \[3\]"):
        routing_statistics(random_routing(2), question_padding_mask=torch.zeros(3, dtype=torch.bool))
