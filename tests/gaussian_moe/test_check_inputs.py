"""Checks that read values: every complaint, and no complaint about what is right."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gaussian_moe import check_inputs

NAN, INF = float("nan"), float("inf")
FRAMES, TIMES = torch.randn(3, 5, 4), torch.tensor([[0.0, 1.0, 2.0, 3.0, 4.0]]).repeat(3, 1)
LENGTHS = torch.tensor([5, 2, 0])
OFFSETS = torch.tensor([0, 3, 3, 5])
PACKED = {"frames": FRAMES[0], "cu_seqlens": OFFSETS, "max_seqlen": 3}
PADDED = torch.arange(5) >= LENGTHS.unsqueeze(-1)


def with_value(tensor: torch.Tensor, where: tuple[int, ...], value: float) -> torch.Tensor:
    tensor = tensor.clone()
    tensor[where] = value
    return tensor


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"lengths": LENGTHS, "question": torch.randn(3, 4)},
        {"key_padding_mask": PADDED},
        {"key_padding_mask": torch.tensor([[True, False, False, True, True]]).repeat(3, 1)},
        {"key_padding_mask": PADDED[[0, 0, 1]].flip(1) | PADDED[[0, 1, 1]]},
        {"key_padding_mask": torch.tensor([[True, False, False], [False, False, True]]), "frames": FRAMES[:2, :3]},
        {"frames": with_value(FRAMES, (1, 2), NAN), "lengths": LENGTHS},
        {"frames": FRAMES[:0]},
        {"frames": FRAMES[:, :0], "lengths": torch.zeros(3, dtype=torch.int64)},
        {"times": TIMES},
        {"times": TIMES[0], "duration": 4.0},
        {"times": TIMES[0], "duration": 8.0},
        {"times": TIMES[:, 1:2], "duration": 8.0, "frames": FRAMES[:, :1]},
        {"times": TIMES[0].long(), "duration": 5},
        {"times": TIMES, "duration": torch.tensor([4.0, 5.0, 60.0])},
        {"times": TIMES, "duration": torch.tensor(4)},
        {"times": with_value(TIMES, (1, 3), NAN), "lengths": LENGTHS, "duration": 4.0},
        {"times": with_value(TIMES, (1, 4), -7.0), "key_padding_mask": PADDED},
        {"times": with_value(TIMES, (0, 2), 1.0)},
        {"times": TIMES, "lengths": LENGTHS, "duration": torch.tensor([4.0, 1.0, 1.0])},
        {"frames": FRAMES.view(1, 3, 5, 4), "lengths": LENGTHS[None], "times": TIMES[None], "duration": 4.0},
        {"frames": FRAMES[0, :0], "cu_seqlens": torch.tensor([0]), "max_seqlen": 0},
        {"frames": FRAMES[0], "cu_seqlens": OFFSETS, "max_seqlen": 3, "times": torch.tensor([0.0, 1.0, 2.0, 0.5, 1.5])},
        {"frames": torch.nested.nested_tensor([FRAMES[0], FRAMES[1, :2]], layout=torch.jagged)},
    ],
)
def test_nothing_to_complain_about(arguments: dict[str, Any]) -> None:
    check_inputs(arguments.pop("frames", FRAMES), **arguments)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"frames": FRAMES[0]}, r"frames must have shape \[B, T, D\], got \[5, 4\]"),
        ({"frames": with_value(FRAMES, (1, 2, 3), NAN)}, "frames hold NaN or infinity, first in clip 1, frame 2"),
        ({"frames": with_value(FRAMES, (1, 1), INF), "lengths": LENGTHS}, "frames hold NaN.* clip 1, frame 1"),
        ({"lengths": torch.tensor([5, 6, 0])}, r"lengths must be in 0 ... 5, got \[5, 6, 0\]"),
        ({"lengths": torch.tensor([5, -1, 0])}, r"lengths must be in 0 ... 5, got \[5, -1, 0\]"),
        ({"lengths": LENGTHS, "key_padding_mask": PADDED}, "key_padding_mask and lengths"),
        ({"lengths": torch.tensor([10, 4, 0])}, "rows of frames, of which a backbone may make one from several"),
        ({"question": with_value(torch.randn(3, 4), (2, 1), NAN)}, "question holds NaN or infinity, first for clip 2"),
        ({"question": with_value(torch.randn(3, 2, 4), (1, 1, 1), INF)}, "question holds NaN .* first for clip 1"),
        ({"lengths": [5, 2, 0]}, r"lengths must be a tensor, got list; give torch.as_tensor\(lengths\)"),
        ({"times": torch.zeros(3, 5)}, "times of clip 0 are all equal; drop times"),
        ({"times": TIMES, "duration": 240.0}, "times of every clip span less than half .* at most 2%.* same unit"),
        ({"frames": FRAMES[:, :2], "times": TIMES[:, :2], "duration": 240.0}, "less than half .* at most 0%"),
        ({**PACKED, "cu_seqlens": OFFSETS + 1}, "cu_seqlens must start with 0 .* frames, 5; got 1 and 6"),
        ({**PACKED, "cu_seqlens": OFFSETS[:-1]}, "cu_seqlens must start with 0 .* frames, 5; got 0 and 3"),
        ({**PACKED, "cu_seqlens": torch.tensor([0, 3, 2, 5])}, "cu_seqlens must not fall: clip 1 would end before"),
        ({**PACKED, "max_seqlen": 2}, "max_seqlen must be at least .* 3, got 2: frames behind it"),
        ({**PACKED, "times": torch.tensor([0.0, 2.0, 1.0, 0.5, 1.5])}, "times must be sorted .* clip 0"),
        ({"key_padding_mask": ~PADDED}, "key_padding_mask ignores the first frames .* pass ~mask"),
        ({"key_padding_mask": torch.arange(5).expand(3, 5) < 1}, "key_padding_mask ignores the first frames"),
        ({"key_padding_mask": PADDED.int()}, r"key_padding_mask must be bool .*~mask\.bool\(\)"),
        ({"duration": 4.0}, "duration .* give times too"),
        ({"times": TIMES[:, :4]}, r"times must have shape \[3, 5\], got \[3, 4\]"),
        ({"times": with_value(TIMES, (2, 1), NAN)}, "times hold NaN or infinity in clip 2"),
        ({"times": with_value(TIMES, (1, 3), 1.5)}, "times must be sorted .* clip 1 are not"),
        ({"times": TIMES.flip(1)}, "times must be sorted .* clip 0 are not"),
        ({"times": TIMES, "duration": 0.0}, "duration must be positive and finite, got 0 for clip 0"),
        ({"times": TIMES, "duration": torch.tensor([4.0, -1.0, 4.0])}, "duration must be positive.* got -1 for clip 1"),
        ({"times": TIMES, "duration": INF}, "duration must be positive and finite, got inf"),
        ({"times": TIMES, "duration": NAN}, "duration must be positive and finite, got nan"),
        ({"times": TIMES, "duration": torch.ones(2)}, r"duration must have shape \[3\], got \[2\]"),
        ({"times": 1000 * TIMES, "duration": 4.0}, "times of clip 0 span 4000 but duration is 4; .* same unit"),
        ({"times": TIMES, "duration": torch.tensor([4.0, 4.0, 3.9])}, "times of clip 2 span 4 but duration is 3.9"),
    ],
)
def test_complaints(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        check_inputs(arguments.pop("frames", FRAMES), **arguments)


def test_time_first_frames_are_told_by_what_goes_with_them() -> None:
    frames = torch.randn(30, 4, 8)
    with pytest.raises(ValueError, match=r"frames hold 30 clips, but question is of 4.*"):
        check_inputs(frames, question=torch.randn(4, 8))
    with pytest.raises(ValueError, match=r"lengths is of 4; frames are batch first: call frames\.transpose\(0, 1\)"):
        check_inputs(torch.randn(4, 30, 8).transpose(0, 1)[:, :4], lengths=torch.full((4,), 30))
    check_inputs(frames.transpose(0, 1), question=torch.randn(4, 8), lengths=torch.full((4,), 30))
