"""Frames as the published towers see them: the shortest side resized, then the middle cut out, by Pillow.

T frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor


def middle(frame: npt.NDArray[np.uint8], shortest: int, size: int) -> npt.NDArray[np.uint8]:
    """The middle of a frame whose shortest side is first resized: antialiased, bicubic.

    Pillow, because the published features were made with it: the same rounding, whatever device encodes.

    Args:
        frame: [H, W, 3], RGB.
        shortest: pixels of the shortest side after resizing; the other side is rounded down.
        size: pixels of both sides of the result, at most `shortest`.

    Returns:
        [size, size, 3]
    """
    height, width = frame.shape[:2]
    short = min(height, width)
    # Whole numbers: a float quotient of a square frame might round to one pixel less.
    resized = (width * shortest // short, height * shortest // short)
    picture = Image.fromarray(frame).resize(resized, Image.Resampling.BICUBIC)
    left, top = (round((length - size) / 2) for length in resized)
    return np.asarray(picture.crop((left, top, left + size, top + size)))


def normalised(
    pictures: Sequence[npt.NDArray[np.uint8]],  # T times [H, W, 3]
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device,
) -> Tensor:  # [T, 3, H, W] float32
    """Channels first, from [0, 255] to [0, 1], less `mean`, over `std`."""
    pixels = torch.from_numpy(np.stack(pictures)).to(device).permute(0, 3, 1, 2).float() / 255
    means, stds = (torch.tensor(numbers, device=device)[:, None, None] for numbers in (mean, std))
    return (pixels - means) / stds
