"""The published computation as it is measured against: the published model's numbers, and our model's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from examples.avqa.checkpoint import from_released, to_released
from examples.avqa.measure.published import PublishedQATiger
from examples.avqa.model import QATiger
from tests.gaussian_moe.support import assert_close, golden, stirred

NAMES = ("audio", "video", "patch", "question", "words")


def published(released_order: bool = False) -> PublishedQATiger:
    file = golden("qa_tiger")
    model = PublishedQATiger(
        audio_dim=file.meta["audio_dim"],
        video_dim=file.meta["video_dim"],
        patch_dim=file.meta["patch_dim"],
        dim=file.meta["d_model"],
        num_answers=file.meta["answers"],
        num_experts=file.meta["num_experts"],
        top_k=file.meta["top_k"],
        heads=file.meta["heads"],
        released_order=released_order,
    )
    model.load_state_dict(file.state)
    return model.double().eval()


def test_outputs_and_gradients_are_the_published_ones() -> None:
    file, model = golden("qa_tiger"), published()
    inputs = {name: file.inputs[name].requires_grad_() for name in NAMES}
    logits = model(*inputs.values())
    assert_close(logits, file.outputs["logits"], 1e-9)
    logits.backward(file.cotangents["logits"])
    for name, leaf in inputs.items():
        assert leaf.grad is not None
        assert_close(leaf.grad, file.grad_inputs[name], 1e-9, name)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert_close(parameter.grad, file.grad_state[name], 1e-9, name)


def test_released_order_gives_the_published_batched_output() -> None:
    file = golden("qa_tiger")
    logits = published(released_order=True)(*(file.inputs[name] for name in NAMES))
    assert_close(logits, file.released["logits"], 1e-9)


@pytest.mark.parametrize("top_k", [1, 3, 7])
@pytest.mark.parametrize("released_order", [False, True])
def test_equals_our_model_with_converted_weights(top_k: int, released_order: bool) -> None:
    ours = stirred(
        QATiger(8, 12, 10, dim=16, num_answers=5, top_k=top_k, heads=4, released_expert_order=released_order)
    ).double()
    theirs = PublishedQATiger(8, 12, 10, 16, 5, top_k=top_k, heads=4, released_order=released_order).double().eval()
    theirs.load_state_dict(to_released(ours.state_dict()))
    shapes = ((3, 9, 8), (3, 9, 12), (3, 9, 4, 10), (3, 12), (3, 5, 12))
    inputs = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    got, wanted = theirs(*inputs), ours(*inputs).logits
    assert_close(got, wanted, 1e-9)
    weights = torch.randn(got.shape, dtype=torch.float64)
    got.backward(weights)
    wanted.backward(weights)
    found: dict[str, Tensor] = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    converted = from_released(found)[0]
    parameters = dict(ours.named_parameters())
    assert converted.keys() == parameters.keys()
    for name, parameter in parameters.items():
        assert parameter.grad is not None
        assert_close(converted[name], parameter.grad, 1e-9, name)


def test_every_result_of_every_expert_is_stored() -> None:
    """What makes it the baseline: [T, B, E, D] in memory, once for each stream."""
    model, stored = published(), 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal stored
        stored += tensor.numel() >= 60 * 4 * 7 * 16
        return tensor

    file = golden("qa_tiger")
    real = torch.stack
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "stack", lambda *arguments, **options: count(real(*arguments, **options)))
        model(*(file.inputs[name] for name in NAMES))
    assert stored == 3


def test_trainable_parameters_at_the_published_sizes() -> None:
    with torch.device("meta"):
        model = PublishedQATiger()
    assert sum(parameter.numel() for parameter in model.parameters()) == 14_960_212
