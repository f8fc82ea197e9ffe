"""A small synthetic task: which answer is shown while the event that is asked for happens?

All of it is learnt in a hundred steps, but not by looking at the event: the router's attention finds the answer by
itself and tells it by its choice of experts, and as nothing in a frame says when it was taken, it could not place
their windows. The picture of the timeline beside the truth shows that.

B clips, T frames, D channels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gaussian_moe import Routing, TemporalMoE

FRAMES, DIM, EVENTS, ANSWERS = 30, 32, 3, 4


class Batch(NamedTuple):
    """Clips of different lengths, one question each."""

    question: Tensor
    """[B, D], the event that is asked for."""
    frames: Tensor
    """[B, T, D], noise, and in every third of a clip one of the events with an answer."""
    lengths: Tensor
    """[B], valid frames."""
    answer: Tensor
    """[B]."""
    truth: Tensor
    """[B, 2], start and end of the event, fractions of the clip."""


def sample(num_clips: int, generator: torch.Generator) -> Batch:
    """Random clips, always of the same events and answers."""
    codes = torch.randn(EVENTS + ANSWERS, DIM, generator=torch.Generator().manual_seed(0))
    lengths = torch.randint(FRAMES // 2, FRAMES + 1, (num_clips,), generator=generator)
    order = torch.rand(num_clips, EVENTS, generator=generator).argsort(-1)
    answers = torch.randint(ANSWERS, (num_clips, EVENTS), generator=generator)
    third = (torch.arange(FRAMES) * EVENTS // lengths.unsqueeze(-1)).clamp(max=EVENTS - 1)
    shown = codes[:EVENTS][order] + codes[EVENTS:][answers]
    frames = shown.gather(1, third.unsqueeze(-1).expand(-1, -1, DIM))
    frames = frames + 0.3 * torch.randn(frames.shape, generator=generator)
    asked = torch.randint(EVENTS, (num_clips,), generator=generator)
    begin = asked / EVENTS
    clips = torch.arange(num_clips)
    truth = torch.stack([begin, begin + 1 / EVENTS], -1)
    return Batch(codes[order[clips, asked]], frames, lengths, answers[clips, asked], truth)


class Model(torch.nn.Module):
    """One mixture and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.moe = TemporalMoE(DIM, num_experts=6, top_k=3, heads=4)
        self.classify = torch.nn.Linear(DIM, ANSWERS)

    def forward(self, batch: Batch) -> tuple[Tensor, Routing]:
        """Logits of the answers, and the routing."""
        pooled, routing = self.moe(batch.question, batch.frames, lengths=batch.lengths, return_routing=True)
        return self.classify(pooled), routing
