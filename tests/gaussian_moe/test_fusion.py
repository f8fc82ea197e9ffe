"""Both directions of the fusion at once are the two directions one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gaussian_moe import QuestionFusion
from tests.gaussian_moe.support import assert_close, assert_same_gradients, gradients, stirred


def lengths(*numbers: int) -> Tensor:
    """[B, 6] bool, True behind so many frames."""
    return torch.arange(6) >= torch.tensor(numbers).unsqueeze(-1)


@pytest.mark.parametrize("asked", [(), (3,)], ids=["one question", "several questions"])
@pytest.mark.parametrize(
    ("audio_mask", "video_mask"),
    [(None, None), (lengths(6, 4), lengths(2, 6)), (lengths(6, 4), None), (None, lengths(0, 6))],
    ids=["no mask", "two masks", "audio's mask", "video's mask"],
)
def test_both_directions_equal_each(
    asked: tuple[int, ...], audio_mask: Tensor | None, video_mask: Tensor | None
) -> None:
    layer = stirred(QuestionFusion(16, heads=4)).double()
    audio, video = (torch.randn(2, 6, 16, dtype=torch.float64) for _ in range(2))
    words = torch.randn(2, *asked, 5, 16, dtype=torch.float64)
    words_mask = torch.rand(2, *asked, 5) < 0.3
    for features, mask in ((audio, audio_mask), (video, video_mask), (words, words_mask)):
        if mask is not None:
            features[mask] = 0.0
        features.requires_grad_()
    leaves = {"audio": audio, "video": video, "words": words, **dict(layer.named_parameters())}
    got = layer(
        audio,
        video,
        words,
        audio_padding_mask=audio_mask,
        video_padding_mask=video_mask,
        words_padding_mask=words_mask,
    )
    wanted = (
        layer._direction(audio, video, words, audio_mask, video_mask, words_mask),
        layer._direction(video, audio, words, video_mask, audio_mask, words_mask),
    )
    # What padded frames come to is nobody's concern.
    for number, mask in enumerate((audio_mask, video_mask)):
        assert got[number].shape == (2, *asked, 6, 16)
        if mask is not None:
            padded = mask.view(2, *[1] * len(asked), 6, 1)
            got, wanted = (
                tuple(out.masked_fill(padded, 0.0) if place == number else out for place, out in enumerate(outputs))
                for outputs in (got, wanted)
            )
        assert_close(got[number], wanted[number])
    assert_same_gradients(gradients(got, leaves), gradients(wanted, leaves))
