"""The published optimizer and schedule, a loss that padding does not change, a checkpoint of plain values."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from examples.avqa.annotations import Vocabulary
from examples.avqa.config import ModelConfig, OptimizerConfig, TrainerConfig
from examples.avqa.data import NO_ANSWER, Batch
from examples.avqa.errors import UserError
from examples.avqa.fit import load_model
from examples.avqa.model import QATiger
from examples.avqa.module import AVQAModule, averaged
from tests.examples.tiny_run import ANSWERS

DIMS = {"audio": 3, "video": 4, "patches": 5, "question": 6, "words": 6}
SIZES = ModelConfig(dim=16, num_experts=3, top_k=2, heads=2, dropout=0.0)


def _module(optimizer: OptimizerConfig = OptimizerConfig(), **model: Any) -> AVQAModule:
    return AVQAModule.from_configs(replace(SIZES, **model), optimizer, DIMS, ["yes", "no", "two"], "small")


def _batch(answers: list[list[int]], frames: int = 4) -> Batch:
    clips, asked = len(answers), len(answers[0])
    return Batch(
        audio=torch.randn(clips, frames, 3),
        video=torch.randn(clips, frames, 4),
        patches=torch.randn(clips, frames, 2, 5),
        padding_mask=None,
        question=torch.randn(clips, asked, 6),
        words=torch.randn(clips, asked, 3, 6),
        words_padding_mask=torch.zeros(clips, asked, 3, dtype=torch.bool),
        answers=torch.tensor(answers),
        numbers=torch.arange(clips * asked).view(clips, asked),
    )


def _schedule(optimizer: OptimizerConfig, epochs: int, steps_per_epoch: int) -> list[float]:
    """The factor of the learning rate at each step."""
    module = _module(optimizer)
    module._trainer = SimpleNamespace(estimated_stepping_batches=epochs * steps_per_epoch, max_epochs=epochs)  # type: ignore[assignment]  # all that is asked of it
    made = module.configure_optimizers()
    assert made["lr_scheduler"]["interval"] == "step"
    factors = []
    for _ in range(epochs * steps_per_epoch):
        factors.append(made["optimizer"].param_groups[0]["lr"] / optimizer.lr)
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()
    return factors


def test_the_published_training_is_the_default() -> None:
    made = OptimizerConfig()
    assert (made.lr, made.betas, made.weight_decay, made.schedule) == (1e-4, (0.95, 0.999), 0.0, "step")
    assert (made.step_epochs, made.gamma, made.warmup_steps, made.label_smoothing) == (8, 0.1, 0, 0.0)
    trainer = TrainerConfig()
    assert (trainer.max_epochs, trainer.precision, trainer.gradient_clip_val) == (15, "32-true", None)
    model = ModelConfig()
    assert (model.dim, model.num_experts, model.top_k, model.dropout, model.whiten) == (512, 7, 7, 0.1, {})


def test_the_rate_falls_to_a_tenth_at_the_ninth_epoch() -> None:
    factors = _schedule(OptimizerConfig(), epochs=17, steps_per_epoch=3)
    assert factors == pytest.approx([1.0] * 24 + [0.1] * 24 + [0.01] * 3)


def test_the_rate_rises_over_the_warm_up() -> None:
    factors = _schedule(OptimizerConfig(warmup_steps=4), epochs=2, steps_per_epoch=4)
    assert factors == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0])


def test_the_cosine_ends_at_nothing() -> None:
    factors = _schedule(OptimizerConfig(schedule="cosine"), epochs=2, steps_per_epoch=5)
    assert factors == pytest.approx([0.5 * (1 + math.cos(math.pi * step / 10)) for step in range(10)])


def test_the_optimizer_is_adam_with_what_was_asked_for() -> None:
    module = _module(OptimizerConfig(lr=0.5, betas=(0.8, 0.9), weight_decay=0.25))
    module._trainer = SimpleNamespace(estimated_stepping_batches=1, max_epochs=1)  # type: ignore[assignment]  # all that is asked of it
    optimizer = module.configure_optimizers()["optimizer"]
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.defaults["betas"] == (0.8, 0.9)
    assert optimizer.defaults["weight_decay"] == 0.25
    trained = sum(parameter.numel() for group in optimizer.param_groups for parameter in group["params"])
    assert trained == sum(parameter.numel() for parameter in module.parameters())


def test_a_stand_in_question_changes_no_loss() -> None:
    module = _module().eval()
    asked = _batch([[0, 2], [1, NO_ANSWER]])
    other = asked._replace(question=asked.question.clone(), words=asked.words.clone())
    other.question[1, 1], other.words[1, 1] = 9.0, -9.0
    module.log = lambda *_, **__: None  # type: ignore[method-assign]  # no trainer here
    with torch.no_grad():
        logits = module(asked).logits
        loss = module.training_step(asked, 0)
        assert torch.allclose(module.training_step(other, 0), loss)
    picked = torch.stack((logits[0, 0], logits[0, 1], logits[1, 0])).log_softmax(-1)
    assert torch.allclose(loss, -(picked[0, 0] + picked[1, 2] + picked[2, 1]) / 3, atol=1e-6)


def test_label_smoothing_reaches_the_training_loss_only() -> None:
    batch = _batch([[0, 2]])
    plain, smooth = _module().eval(), _module(OptimizerConfig(label_smoothing=0.5)).eval()
    smooth.load_state_dict(plain.state_dict())
    plain.log = smooth.log = lambda *_, **__: None  # type: ignore[method-assign]  # no trainer here
    with torch.no_grad():
        scores = plain(batch).logits[0].log_softmax(-1)
        hard = -(scores[0, 0] + scores[1, 2]) / 2
        assert torch.allclose(plain.training_step(batch, 0), hard, atol=1e-6)
        assert torch.allclose(smooth.training_step(batch, 0), 0.5 * hard - 0.5 * scores.mean(), atol=1e-6)


def test_of_equal_epochs_the_later_is_the_best() -> None:
    module, chosen = _module(), []
    batch = _batch([[0, 2], [1, NO_ANSWER]])
    module.log = lambda name, value, **_: chosen.append(float(value)) if name == "val/selection" else None  # type: ignore[method-assign]  # no trainer here
    for epoch in range(3):
        module._trainer = SimpleNamespace(current_epoch=epoch)  # type: ignore[assignment]  # all that is asked of it
        module.validation_step(batch, 0)
        module.on_validation_epoch_end()
    assert chosen[0] < chosen[1] < chosen[2]
    # One more right answer in v1's 4,568 weighs more than any number of epochs.
    assert chosen[2] - chosen[0] < 1 / 4568 / 10


def test_prediction_gives_the_asked_questions_and_their_probabilities() -> None:
    module = _module().eval()
    batch = _batch([[0, 2], [1, NO_ANSWER]])._replace(numbers=torch.tensor([[3, 0], [1, -1]]))
    numbers, probabilities = module.predict_step(batch, 0)
    assert numbers.tolist() == [3, 0, 1]
    wanted = module(batch).logits.softmax(-1)
    assert torch.allclose(probabilities, torch.stack((wanted[0, 0], wanted[0, 1], wanted[1, 0])))


def test_whitening_stands_before_the_model() -> None:
    module = _module(whiten={"audio": 2, "question": 3, "words": 3}).eval()
    assert isinstance(module.model, QATiger)
    assert module.model.audio_projection.in_features == 2
    assert module.model.question_projection.in_features == 3
    batch = _batch([[0]])
    before = module(batch).logits
    module.whitening.fit({name: torch.randn(50, dim) * 5 for name, dim in DIMS.items()})
    assert not torch.allclose(module(batch).logits, before, atol=1e-3)


def test_question_and_words_must_stay_equally_wide() -> None:
    with pytest.raises(ValueError, match="equally wide, got 3 and 6"):
        _module(whiten={"question": 3})


def test_the_published_order_wants_single_questions_and_no_padding() -> None:
    module = _module(released_expert_order=True).eval()
    single = _batch([[0], [1]])
    assert module(single).logits.shape == (2, 1, 3)
    with pytest.raises(UserError, match="questions_per_clip"):
        module(_batch([[0, 1]]))
    with pytest.raises(UserError, match="one length"):
        module(single._replace(padding_mask=torch.tensor([[False] * 4, [False, True, True, True]])))


def test_a_checkpoint_holds_plain_values_and_rebuilds_the_module(tiny_run: Path) -> None:
    stored = torch.load(tiny_run / "best.ckpt", weights_only=True)
    assert stored["hyper_parameters"]["answers"] == list(ANSWERS)
    assert stored["hyper_parameters"]["model"]["dim"] == 16
    assert any(name.startswith("whitening.") for name in stored["state_dict"])
    module = load_model(tiny_run)
    assert module.encoder == "small"
    assert asdict(module.optimizer_config)["betas"] == (0.95, 0.999)
    assert all(torch.equal(module.state_dict()[name], value) for name, value in stored["state_dict"].items())
    assert not module.training


def test_answers_index_the_logits() -> None:
    vocabulary = Vocabulary(("yes", "no", "two"), Path("a.json"))
    assert [vocabulary.index(answer) for answer in _module().answers] == [0, 1, 2]


def test_seconds_are_averaged_into_frames_without_their_padding() -> None:
    features = torch.arange(10.0).view(2, 5, 1)
    padding = torch.tensor([[False] * 5, [False, False, False, True, True]])
    assert averaged(features, None, 2).squeeze(-1).tolist() == [[0.5, 2.5, 4.0], [5.5, 7.5, 9.0]]
    assert averaged(features, padding, 2).squeeze(-1).tolist() == [[0.5, 2.5, 4.0], [5.5, 7.0, 0.0]]
    assert averaged(features, padding, 1) is features


def test_a_padded_clip_is_answered_like_a_shorter_one() -> None:
    module = _module(seconds_per_frame=2).eval()
    short = _batch([[0, 1]], frames=3)
    padding = torch.tensor([[False] * 3 + [True] * 4])
    longer = {
        kind: torch.cat((getattr(short, kind), 9 * torch.ones(1, 4, *getattr(short, kind).shape[2:])), dim=1)
        for kind in ("audio", "video", "patches")
    }
    padded = short._replace(padding_mask=padding, **longer)
    assert torch.allclose(module(short).logits, module(padded).logits, atol=1e-5)


def test_noise_is_added_in_training_only_and_to_whitened_features_only() -> None:
    module = _module(whiten={"audio": 2}, feature_noise=0.5)
    features = torch.zeros(2000, 3)
    noise = module.whitening("audio", features)
    assert noise.std().item() == pytest.approx(0.5, abs=0.03)
    assert torch.equal(module.whitening("video", features), features)
    assert torch.equal(module.eval().whitening("audio", features), torch.zeros(2000, 2))
