"""What a module keeps, copies and saves."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gaussian_moe import GaussianExpert, PatchFusion, ProgressiveRefiner, QuestionFusion, QuestionRouter, TemporalMoE
from tests.gaussian_moe.support import small_moe

LAYERS: list[Callable[..., nn.Module]] = [
    GaussianExpert,
    QuestionRouter,
    TemporalMoE,
    QuestionFusion,
    PatchFusion,
    ProgressiveRefiner,
]
layers = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)


@layers
def test_from_meta_by_to_empty_and_reset_parameters(layer: Callable[..., nn.Module]) -> None:
    module = layer(16, device="meta")
    assert all(tensor.is_meta for tensor in (*module.parameters(), *module.buffers()))
    module = module.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.fill_(torch.nan if tensor.is_floating_point() else 99)
    torch.manual_seed(3)
    module.reset_parameters()  # type: ignore[operator]  # every layer has it
    torch.manual_seed(3)
    wanted = layer(16)
    wanted.reset_parameters()  # type: ignore[operator]  # construction draws in another order
    torch.manual_seed(3)
    wanted.reset_parameters()  # type: ignore[operator]  # every layer has it
    for (name, got), same in zip(module.named_parameters(), wanted.parameters(), strict=True):
        assert torch.equal(got, same), name
    for buffer, wanted_buffer in zip(module.buffers(), wanted.buffers(), strict=True):
        assert torch.equal(buffer, wanted_buffer)


@layers
def test_device_and_dtype_are_taken(layer: Callable[..., nn.Module]) -> None:
    module = layer(16, device="meta", dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in module.parameters()} == {torch.bfloat16}


def test_slots_are_not_saved() -> None:
    moe = small_moe()
    assert "router.slots" in dict(moe.named_buffers())
    assert not [name for name in moe.state_dict() if "slots" in name or "anchors" in name]
    assert set(moe.state_dict()) == set(dict(moe.named_parameters()))


def test_state_dict_goes_through_a_file_without_pickled_objects() -> None:
    moe, other = small_moe(), small_moe()
    question, frames = torch.randn(2, 16), torch.randn(2, 9, 16)
    assert not torch.equal(moe(question, frames), other(question, frames))
    file = io.BytesIO()
    torch.save(moe.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(moe(question, frames), other(question, frames))


def test_one_state_dict_whatever_the_backend_and_the_number_of_experts_in_use() -> None:
    state = TemporalMoE(16, heads=4, top_k=3, backend="auto").state_dict()
    for other in (TemporalMoE(16, heads=4, top_k=7, backend="torch"), TemporalMoE(16, heads=4, top_k=1)):
        other.load_state_dict(state)


def test_a_copy_is_independent() -> None:
    moe = small_moe()
    other = copy.deepcopy(moe)
    question, frames = torch.randn(2, 16), torch.randn(2, 9, 16)
    before = moe(question, frames)
    assert torch.equal(other(question, frames), before)
    with torch.no_grad():
        other.router.slots.zero_()
        for parameter in other.parameters():
            parameter.zero_()
    assert torch.equal(moe(question, frames), before)


def test_nothing_is_left_on_the_module() -> None:
    moe = small_moe()
    before = {name: set(vars(module)) for name, module in moe.named_modules()}
    moe(torch.randn(2, 16), torch.randn(2, 9, 16), return_routing=True)
    assert {name: set(vars(module)) for name, module in moe.named_modules()} == before


def test_training_drops_and_evaluation_does_not() -> None:
    moe = small_moe()
    question, frames = torch.randn(2, 16), torch.randn(2, 9, 16)
    assert torch.equal(moe(question, frames), moe(question, frames))
    moe.train()
    assert not torch.equal(moe(question, frames), moe(question, frames))


def test_representation_names_the_sizes() -> None:
    text = repr(TemporalMoE(16, num_experts=5, top_k=2, heads=4, num_streams=2, released_expert_order=True))
    for part in ("num_experts=5", "top_k=2", "num_streams=2", "hidden_dim=8", "released_expert_order=True", "heads=4"):
        assert part in text


def test_shapes_and_multiplications_on_the_meta_device() -> None:
    """Which has no autocast: sizes of a model are counted there without its weights."""
    moe = TemporalMoE(16, 4, 2, heads=2, device="meta")
    with FlopCounterMode(display=False) as counter:
        pooled = moe(torch.zeros(3, 16, device="meta"), torch.zeros(3, 5, 16, device="meta"))
        pooled.sum().backward()
    assert pooled.shape == (3, 16)
    assert counter.get_total_flops() > 0
