"""What the drop-ins share: questions about clips, a small model around the part that is compared, and its training.

Every part of a comparison gets the same features, questions, model around it, schedule and seeds. The epoch that is
kept is the last; nothing is chosen by the test split.

N clips, n questions, B of them in a batch, T frames, F channels of a feature, D channels, A answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

DIM, BATCH, LEARNING_RATE, NOISE = 64, 64, 2e-3, 0.3
"""NOISE: deviation of the noise on the standardised features in training."""


class Questions(NamedTuple):
    """One row a question."""

    clips: Tensor
    """[n] int64, which clip it is about."""
    kinds: Tensor
    """[n] int64, what is asked."""
    subjects: Tensor
    """[n] int64, about whom; 0 where the kind says all."""
    answers: Tensor
    """[n] int64."""
    spans: Tensor
    """[n, 2] float32, start and end in seconds of what the answer rests on; never trained on."""


class Split(NamedTuple):
    """Clips and the questions about them; also one batch, whose `frames` and `timing` have a row for each question."""

    frames: Tensor
    """[N, T, F] float32."""
    timing: Mapping[str, Tensor]
    """What the layers take beside frames: times [N, T] in seconds, lengths [N]."""
    questions: Questions

    def batch(self, rows: Tensor) -> Split:
        """The questions of these rows, each with its clip."""
        questions = Questions(*(column[rows] for column in self.questions))
        timing = {name: values[questions.clips] for name, values in self.timing.items()}
        return Split(self.frames[questions.clips], timing, questions)


class Answerer(nn.Module):
    """A small video-QA model: frames and question in, `part` pools over time, a head answers.

    `logits = MLP([part(q, x), q])`, x the projected frames plus a code of their times, q a vector learned for kind
    and subject of the question. Without that code neither an attention nor a router can tell when a frame was.

    Args:
        part: called as `part(question, frames, **timing)`, [B, D] and [B, T, D] -> [B, D].
        features: F.
        kinds, subjects, answers: how many there are of each.
        coded: whether frames get the code of their times.
    """

    def __init__(
        self, part: nn.Module, features: int, kinds: int, subjects: int, answers: int, coded: bool = True
    ) -> None:
        super().__init__()
        self.part = part
        self.projection = nn.Sequential(nn.Linear(features, DIM), nn.LayerNorm(DIM))
        self.time = nn.Linear(2 * OCTAVES, DIM) if coded else None
        self.kind, self.subject = nn.Embedding(kinds, DIM), nn.Embedding(subjects, DIM)
        self.head = nn.Sequential(nn.Linear(2 * DIM, DIM), nn.ReLU(), nn.Dropout(0.1), nn.Linear(DIM, answers))

    def encode(self, batch: Split) -> tuple[Tensor, Tensor]:
        """Question [B, D] and frames [B, T, D]."""
        frames = batch.frames
        if self.training:
            frames = frames + NOISE * torch.randn_like(frames)
        frames = self.projection(frames)
        if self.time is not None:
            frames = frames + self.time(time_code(batch.timing["times"]))
        return self.kind(batch.questions.kinds) + self.subject(batch.questions.subjects), frames

    def answer(self, question: Tensor, pooled: Tensor) -> Tensor:
        """Logits [B, A]."""
        logits: Tensor = self.head(torch.cat([pooled, question], dim=-1))
        return logits

    def forward(self, batch: Split) -> Tensor:
        """Logits [B, A]."""
        question, frames = self.encode(batch)
        return self.answer(question, self.part(question, frames, **batch.timing))


OCTAVES, SLOWEST = 6, 64.0
"""Sines and cosines of a frame's time; the slowest has this period in seconds, longer than any clip here."""


def time_code(times: Tensor) -> Tensor:  # [..., T] -> [..., T, 2 OCTAVES]
    """`[sin, cos](2 pi 2^i t / SLOWEST)` of times in seconds."""
    octaves = 2.0 ** torch.arange(OCTAVES, device=times.device)
    angles = (2 * math.pi / SLOWEST) * times.unsqueeze(-1) * octaves
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


Loss = Callable[[Answerer, Split], Tensor]


def answer_loss(model: Answerer, batch: Split) -> Tensor:
    """Cross-entropy of the answers."""
    return F.cross_entropy(model(batch), batch.questions.answers)


def train(model: Answerer, split: Split, epochs: int, label: str, loss: Loss = answer_loss) -> None:
    """AdamW under one cycle of the learning rate, gradients clipped at 1."""
    count = len(split.questions.answers)
    steps = max(count // BATCH, 1)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=epochs * steps, pct_start=0.1)
    model.train()
    for _ in tqdm(range(epochs), desc=label, unit="epoch", leave=False):
        for rows in torch.randperm(count)[: steps * BATCH].chunk(steps):
            optimizer.zero_grad()
            loss(model, split.batch(rows)).backward()  # type: ignore[no-untyped-call]  # torch's own
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval()


@torch.no_grad()
def accuracy(model: Answerer, split: Split, kinds: Mapping[str, int]) -> dict[str, float]:
    """Share of right answers by kind of question, and of all; in [0, 1]."""
    model.eval()
    questions = split.questions
    right = model(split.batch(torch.arange(len(questions.answers)))).argmax(-1) == questions.answers
    shares = {name: right[questions.kinds == kind].double().mean().item() for name, kind in kinds.items()}
    return shares | {"all": right.double().mean().item()}


def parameters(part: nn.Module) -> int:
    """How many numbers of a part are trained."""
    return sum(weight.numel() for weight in part.parameters() if weight.requires_grad)
