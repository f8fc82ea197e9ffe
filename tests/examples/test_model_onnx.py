"""QA-TIGER as one ONNX file for every batch, length and number of words, in onnxruntime."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from examples.avqa.model import QATiger
from tests.gaussian_moe.support import assert_close, stirred

B, T, L = torch.export.Dim("B"), torch.export.Dim("T"), torch.export.Dim("L")
SHAPES = {
    "audio": {0: B, 1: T},
    "video": {0: B, 1: T},
    "patches": {0: B, 1: T},
    "question": {0: B},
    "words": {0: B, 1: L},
    "padding_mask": {0: B, 1: T},
    "words_padding_mask": {0: B, 1: L},
}


class Logits(nn.Module):
    """The scores alone."""

    def __init__(self) -> None:
        super().__init__()
        self.model = stirred(QATiger(audio_dim=8, video_dim=24, patch_dim=20, dim=16, heads=4, num_answers=5, top_k=3))

    def forward(
        self,
        audio: Tensor,
        video: Tensor,
        patches: Tensor,
        question: Tensor,
        words: Tensor,
        padding_mask: Tensor,
        words_padding_mask: Tensor,
    ) -> Tensor:
        logits: Tensor = self.model(
            audio, video, patches, question, words, padding_mask=padding_mask, words_padding_mask=words_padding_mask
        ).logits
        return logits


def inputs(clips: int, frames: int, words: int) -> tuple[Tensor, ...]:
    return (
        torch.randn(clips, frames, 8),
        torch.randn(clips, frames, 24),
        torch.randn(clips, frames, 4, 20),
        torch.randn(clips, 24),
        torch.randn(clips, words, 24),
        torch.arange(frames) >= torch.randint(0, frames + 1, (clips, 1)),
        torch.arange(words) >= torch.randint(0, words + 1, (clips, 1)),
    )


@pytest.mark.slow
def test_one_file_for_every_size(tmp_path: Path) -> None:
    import onnxruntime

    model, file = Logits().eval(), tmp_path / "qa_tiger.onnx"
    program = torch.onnx.export(
        torch.export.export(model, inputs(3, 9, 6), dynamic_shapes=SHAPES), dynamo=True, optimize=False, verbose=False
    )
    assert program is not None
    program.save(file)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for sizes in ((3, 9, 6), (1, 1, 1), (2, 2, 9), (4, 60, 77), (2, 131, 3)):
        given = inputs(*sizes)
        (got,) = session.run(None, {name: tensor.numpy() for name, tensor in zip(SHAPES, given, strict=True)})
        assert_close(torch.from_numpy(got), model(*given), 2e-5)
