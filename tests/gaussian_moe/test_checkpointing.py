"""Activation checkpointing: the forward pass is run again in the backward pass, with the same dropout."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointImpl, checkpoint_wrapper
from torch.utils.checkpoint import checkpoint

from gaussian_moe import QuestionFusion, TemporalMoE
from tests.gaussian_moe.support import stirred

LENGTHS = torch.tensor([9, 0, 4])


def by_function(moe: TemporalMoE) -> Callable[..., Tensor]:
    return lambda *args, **kwargs: checkpoint(moe, *args, use_reentrant=False, **kwargs)


def by_wrapper(moe: TemporalMoE) -> Callable[..., Tensor]:
    wrapped = checkpoint_wrapper(moe, checkpoint_impl=CheckpointImpl.NO_REENTRANT)
    assert list(wrapped.state_dict()) == list(moe.state_dict())
    return wrapped


def result(moe: TemporalMoE, call: Callable[..., Tensor], dtype: torch.dtype) -> list[Tensor]:
    torch.manual_seed(5)
    leaves = [
        torch.randn(3, 16, dtype=dtype),
        torch.randn(3, 9, 16, dtype=dtype),
        torch.randn(3, 2, 9, 16, dtype=dtype),
    ]
    question, frames, streams = (leaf.requires_grad_() for leaf in leaves)
    pooled, routing = call(question, frames, streams=streams, lengths=LENGTHS, return_routing=True)
    loss = pooled.square().sum() + routing.logits.logsumexp(-1).sum()
    return [pooled.detach(), *torch.autograd.grad(loss, [question, frames, streams, *moe.parameters()])]


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "dropout"])
@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("way", [by_function, by_wrapper])
def test_same_results(
    way: Callable[[TemporalMoE], Callable[..., Tensor]], dtype: torch.dtype, backend: str, training: bool
) -> None:
    moe = stirred(TemporalMoE(16, 7, 3, heads=4, num_streams=2, dropout=0.3, backend=backend, dtype=dtype))
    moe.train(training)
    wanted = result(moe, moe, dtype)
    runs: list[None] = []
    moe.register_forward_pre_hook(lambda *_: runs.append(None))
    got = result(moe, way(moe), dtype)
    assert len(runs) == 2
    for ours, theirs in zip(got, wanted, strict=True):
        # The very same operations, so the very same numbers.
        assert torch.equal(ours, theirs)


def test_fusion() -> None:
    fusion = stirred(QuestionFusion(16, heads=4, dropout=0.3)).train()
    inputs = [torch.randn(2, 5, 16, requires_grad=True) for _ in range(3)]
    calls: list[Callable[..., tuple[Tensor, Tensor]]] = [
        fusion,
        lambda *given: checkpoint(fusion, *given, use_reentrant=False),
    ]
    results = []
    for call in calls:
        torch.manual_seed(5)
        audio, video = call(*inputs)
        results.append([audio, video, *torch.autograd.grad((audio * video).sum(), [*inputs, *fusion.parameters()])])
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)
