"""Encodes a clip of hours as `extract` does, but for the network that looks at its pictures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor

from examples.avqa.clips import encode_clip
from examples.avqa.encoders.small import SmallEncoders


class _Blind(SmallEncoders):
    """Gives each picture its mean: the network takes 12 ms a frame and no memory that grows."""

    @property
    def _vision(self):  # type: ignore[no-untyped-def]  # a cached property of a module
        def look(frames: Tensor) -> tuple[Tensor, Tensor]:
            means = frames.float().mean(dim=(1, 2, 3))
            return means[:, None].expand(-1, 1280), means[:, None, None].expand(-1, 7, 1288)

        return look


def wrong_encoding(path: Path, seconds: int) -> Iterator[str]:
    """What is wrong with a clip's features, and with how they came; nothing where they are right."""
    told = SimpleNamespace(frames=0, last=time.process_time(), longest=0.0)

    def on_frame(number: int, count: int) -> None:
        now = time.process_time()
        told.frames, told.last, told.longest = number, now, max(told.longest, now - told.last)

    torch.set_num_threads(1)
    clip = encode_clip(path, _Blind(), on_frame=on_frame)
    if not len(clip.audio) == len(clip.video) == len(clip.patches) == clip.frames == told.frames == seconds:
        yield f"{len(clip.audio)}, {len(clip.video)}, {len(clip.patches)} rows, {told.frames} told"
    if not all(bool(torch.isfinite(rows).all()) for rows in clip[:3]):
        yield "features that are not finite"
    if told.longest > 10:
        yield f"{told.longest:.1f} s between two frames"
