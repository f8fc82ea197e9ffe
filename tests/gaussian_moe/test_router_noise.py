"""Temperature, noise and expert dropout: what they do to gates, and that they are off where nobody asked."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from gaussian_moe import QuestionRouter, TemporalMoE
from tests.gaussian_moe.support import assert_close, stirred

QUESTION, FRAMES = torch.randn(64, 16), torch.randn(64, 5, 16)


def router(**options: Any) -> QuestionRouter:
    """In training, without dropout on the attention."""
    return stirred(QuestionRouter(16, 7, 3, heads=4, dropout=0.0, **options)).train()


def dense(gates: Tensor, indices: Tensor) -> Tensor:
    return gates.new_zeros(len(gates), 7).scatter(1, indices, gates)


def test_temperature() -> None:
    routing = router(temperature=0.5)(QUESTION, FRAMES)
    top = (routing.logits / 0.5).softmax(-1).topk(3)
    assert torch.equal(routing.indices, top.indices)
    assert_close(routing.gates, top.values / top.values.sum(-1, keepdim=True), 1e-6)


def test_noise_is_in_training_only_and_not_in_the_logits() -> None:
    noisy = router(noise=2.0)
    first, second = noisy(QUESTION, FRAMES), noisy(QUESTION, FRAMES)
    assert torch.equal(first.logits, second.logits)
    assert not torch.equal(first.indices, second.indices)
    noisy.eval()
    first, second = noisy(QUESTION, FRAMES), noisy(QUESTION, FRAMES)
    assert torch.equal(first.gates, second.gates)
    assert torch.equal(first.indices, first.logits.topk(3).indices)


def test_noise_has_its_standard_deviation() -> None:
    quiet = router(noise=0.3)
    logits = torch.zeros(20_000, 7)
    # The softmax's logarithm differs from the noise by one number a row.
    noise = quiet._scores(logits).log_softmax(-1)
    noise = noise - noise.mean(-1, keepdim=True)
    assert noise.std().item() == pytest.approx(0.3 * (6 / 7) ** 0.5, rel=0.03)


def test_dropped_experts_are_not_chosen_and_the_others_renormalised() -> None:
    dropping = router(expert_dropout=0.4)
    routing = dropping(QUESTION, FRAMES)
    assert_close(routing.gates.sum(-1), torch.ones(64), 1e-6)
    best = routing.logits.argmax(-1)
    missed = (dense(routing.gates, routing.indices).gather(1, best[:, None]) == 0).float().mean().item()
    assert 0.2 < missed < 0.6
    dropping.eval()
    assert torch.equal(dropping(QUESTION, FRAMES).indices, routing.logits.topk(3).indices)


def test_all_dropped_is_none_dropped() -> None:
    dropping = router(expert_dropout=0.999)
    routing = dropping(QUESTION, FRAMES)
    assert routing.gates.isfinite().all()
    assert_close(routing.gates.sum(-1), torch.ones(64), 1e-6)
    loss = routing.gates.square().sum() + routing.centers.sum()
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(loss, list(dropping.gate.parameters())))


def test_whose_experts_all_drop_out_keeps_them_whatever_other_questions_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    dropping, chances = router(expert_dropout=0.4), torch.ones(2, 3, 7)
    chances[:, 0] = 0.0
    chances[:, 1, :4] = 0.0
    monkeypatch.setattr(torch, "rand_like", lambda scores: chances.to(scores))
    routing = dropping(torch.randn(2, 3, 16), torch.randn(2, 9, 16))
    assert_close(routing.gates.sum(-1), torch.ones(2, 3), 1e-6)
    assert torch.equal(routing.indices[:, ::2], routing.logits[:, ::2].topk(3).indices)
    assert torch.equal(routing.indices[:, 1].sort().values, torch.tensor([4, 5, 6]).expand(2, 3))


def test_off_by_default_draws_no_random_number() -> None:
    layer = TemporalMoE(16, heads=4, dropout=0.0).train()
    state = torch.get_rng_state()
    layer(QUESTION, FRAMES)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.slow
def test_a_compiled_layer_draws_too() -> None:
    layer = TemporalMoE(16, 7, 3, heads=4, dropout=0.0, noise=1.0, expert_dropout=0.2).train()
    torch._dynamo.reset()
    compiled = torch.compile(copy.deepcopy(layer), fullgraph=True, backend="aot_eager")
    pooled = [compiled(QUESTION, FRAMES) for _ in range(2)]
    assert not torch.equal(*pooled)
    assert all(each.isfinite().all() for each in pooled)
    torch._dynamo.reset()


def test_an_expert_that_drops_out_is_not_chosen_where_other_gates_are_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The softmax of all but the last is 0: it does not tell the first, which dropped out, from the others."""
    dropping = router(expert_dropout=0.4)
    scores = torch.tensor([-torch.inf, 0.0, 1e3, -1e3, 2e3, 3e3, 9e3])
    monkeypatch.setattr(dropping, "_scores", lambda logits: scores.expand_as(logits))
    assert dropping(QUESTION, FRAMES).indices.tolist() == [[6, 5, 4]] * 64
    scores[3:6] = -torch.inf
    assert dropping(QUESTION, FRAMES).indices.tolist() == [[6, 2, 1]] * 64
