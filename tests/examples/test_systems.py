"""Every system that is compared trains through the module, and differs in what its name says alone."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from examples.avqa.config import DataConfig, ModelConfig, OptimizerConfig
from examples.avqa.data import Batch
from examples.avqa.errors import UserError
from examples.avqa.model import QATiger
from examples.avqa.module import AVQAModule
from examples.avqa.systems import SYSTEMS, system

DATA = DataConfig(Path("a"), Path("b"), Path("c"), features=Path("f"))
SIZES = ModelConfig(
    dim=16, num_experts=3, top_k=2, heads=2, top_frames=2, whiten={"audio": 2, "question": 3, "words": 3}
)
DIMS = {"audio": 3, "video": 4, "patches": 5, "question": 6, "words": 6}


def _batch(dims: dict[str, int]) -> Batch:
    clips, asked, frames = 2, 2, 5
    return Batch(
        audio=torch.randn(clips, frames, dims["audio"]),
        video=torch.randn(clips, frames, dims["video"]),
        patches=torch.randn(clips, frames, 2, dims["patches"]),
        padding_mask=torch.arange(frames) >= torch.tensor([[5], [3]]),
        question=torch.randn(clips, asked, 6),
        words=torch.randn(clips, asked, 3, 6),
        words_padding_mask=torch.tensor([False, False, True]).expand(clips, asked, -1),
        answers=torch.tensor([[0, 1], [2, 1]]),
        numbers=torch.arange(4).view(2, 2),
        prompt=torch.randn(clips, asked, 6),
    )


@pytest.mark.parametrize("name", [*SYSTEMS, "E=1", "E=10"])
def test_every_parameter_that_is_trained_gets_a_gradient(name: str) -> None:
    """Distributed training waits for each of them."""
    data, model = system(name).configure(DATA, SIZES)
    dims = DIMS if data.features else DIMS | dict.fromkeys(("audio", "video", "patches"), 1)
    module = AVQAModule.from_configs(model, OptimizerConfig(), dims, ["yes", "no", "two"], "small")
    module.log = lambda *args, **kwargs: None  # type: ignore[method-assign]  # there is no trainer to log to
    torch.autograd.backward(module.training_step(_batch(dims), 0))
    without = [n for n, p in module.model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_a_system_changes_what_its_name_says() -> None:
    changed = {}
    for name in SYSTEMS:
        data, model = system(name).configure(DATA, replace(SIZES, top_frames=ModelConfig.top_frames))
        assert (data.features is None) == (name == "question only")
        changed[name] = {key for key, value in asdict(model).items() if value != asdict(SIZES)[key]} - {"top_frames"}
    assert changed == {
        "QA-TIGER": set(),
        "uniform pooling": {"pooling"},
        "top-K frames": {"pooling"},
        "no question-aware fusion": {"question_fusion"},
        "TSPM": {"architecture"},
        "question only": {"whiten"},
    }
    assert system("E=5").configure(DATA, SIZES)[1] == replace(
        SIZES, num_experts=5, top_k=5, top_frames=ModelConfig.top_frames
    )


def test_a_number_that_a_system_does_not_read_makes_no_other_run() -> None:
    for name, reads in (("QA-TIGER", False), ("top-K frames", True), ("TSPM", True)):
        one, other = (system(name).configure(DATA, replace(SIZES, top_frames=n))[1] for n in (2, 3))
        assert (one != other) == reads


def test_an_unknown_system_is_told() -> None:
    with pytest.raises(UserError, match=r"unknown system 'TSMP'; known are QA-TIGER, .*, and E=1"):
        system("TSMP")


def test_without_the_questions_fusion_frames_do_not_see_the_question() -> None:
    model = QATiger(
        audio_dim=3, video_dim=4, patch_dim=5, question_dim=6, dim=16, heads=2, question_fusion=False
    ).eval()
    audio, video, patches, words = (torch.randn(2, 5, *s) for s in ((3,), (4,), (2, 5), (6,)))
    question = torch.randn(2, 3, 6)
    many = model(audio, video, patches, question, words.unsqueeze(1).expand(-1, 3, -1, -1))
    assert many.audio_routing is not None
    assert many.audio_routing.gates.shape == (6, 7)
    for number in range(3):
        one = model(audio, video, patches, question[:, number], torch.randn(2, 9, 6))
        assert torch.allclose(many.logits[:, number], one.logits, atol=1e-5)


def test_the_question_alone_uses_the_others_encoded_questions(tmp_path: Path) -> None:
    data = DataConfig(answers=tmp_path / "a", train=tmp_path / "t", val=tmp_path / "v", features=tmp_path / "features")
    blind, _ = system("question only").configure(data, ModelConfig())
    assert blind.features is None
    assert blind.questions_cache == tmp_path / "features" / "questions"
    own, _ = system("question only").configure(replace(data, questions_cache=tmp_path / "q"), ModelConfig())
    assert own.questions_cache == tmp_path / "q"
