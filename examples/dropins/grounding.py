"""Grounding learned from answers alone, with a Gaussian mask and without: `python -m examples.dropins.grounding`.

Models of the kind of NExT-GQA (Xiao et al., CVPR 2024, arXiv 2309.01327) and CPL (Zheng et al., CVPR 2022) predict a
Gaussian over time from the question, mask their attention with it, and give its reach as the span that the answer
rests on. Without it a span is cut out of the attention's weights afterwards. Nothing is trained on spans; how far a
Gaussian reaches, and where weights are cut, is chosen on the validation split for every contender alike.

B batch, T frames, D channels, H heads, C channels of a head.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaussian_moe import QuestionRouter, Spans, TemporalMoE, check_inputs, clip_extent
from gaussian_moe.grounding import best_span, gated_timeline, peak_span, temporal_iou

from .command import Contender, compare, finish, parser, positive, run
from .concerts import INSTRUMENTS, Concerts, add_concerts, load_concerts
from .constant import constant_overlap
from .training import DIM, Answerer, Questions, Split, accuracy

KINDS = {"who is first": 0, "who is last": 1, "how does X play": 2}
STDS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5)
SHARES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
FLOOR = 0.1
"""What the mask lets through far from its Gaussians: with less, they would never learn what is there."""


class Reading(nn.Module):
    """What is replaced: the question attends to the frames, `LN(a + MLP(a))`; a span is cut out of its weights."""

    choices = SHARES

    def __init__(self, dim: int, heads: int = 4, hidden: int = 380) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))
        self.norm = nn.LayerNorm(dim)

    def scores(self, question: Tensor, frames: Tensor) -> Tensor:  # [B, D], [B, T, D] -> [B, H, T]
        """Before the softmax."""
        query, key = (x.reshape(*x.shape[:-1], self.heads, -1) for x in (self.query(question), self.key(frames)))
        return torch.einsum("bhc,bthc->bht", query, key) / math.sqrt(query.shape[-1])

    def read(self, scores: Tensor, frames: Tensor) -> Tensor:  # [B, H, T], [B, T, D] -> [B, D]
        """What is attended, and an MLP."""
        value = self.value(frames).reshape(*frames.shape[:-1], self.heads, -1)
        attended = self.out(torch.einsum("bht,bthc->bhc", scores.softmax(-1), value).flatten(1))
        pooled: Tensor = self.norm(attended + self.mlp(attended))
        return pooled

    def forward(self, question: Tensor, frames: Tensor, *, times: Tensor) -> Tensor:
        """Pools; the times have no place here."""
        return self.read(self.scores(question, frames), frames)

    def span(self, question: Tensor, frames: Tensor, choice: float, times: Tensor) -> Spans:
        """Around the largest weight, as far as weights are at least `choice` of it."""
        weights = self.scores(question, frames).softmax(-1).mean(1)
        return peak_span(weights, choice, times=times, **clip_extent(times)._asdict())


class GaussianSpan:
    """The span of a router: its Gaussian of the largest gate, `choice` deviations to either side."""

    choices = STDS
    router: QuestionRouter

    def span(self, question: Tensor, frames: Tensor, choice: float, times: Tensor) -> Spans:
        """In seconds: a layer's clip is from its first to its last frame."""
        routing = self.router(question, frames, times=times, return_weights=False)
        return best_span(routing, choice, **clip_extent(times)._asdict())


class MaskedReading(GaussianSpan, Reading):
    """The same attention under the router's Gaussians: `softmax(scores + log(FLOOR + sum_k p_k g_kt))`."""

    def __init__(self, dim: int, heads: int = 4, hidden: int = 240) -> None:
        super().__init__(dim, heads, hidden)
        self.router = QuestionRouter(dim, num_experts=7, top_k=7, heads=heads, dropout=0.0)

    def masked(self, question: Tensor, frames: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """What is read [B, D], and how far the Gaussians are from the attention, a scalar.

        The latter is `-sum_t a_t log(m_t / sum m)`, m the mask and a the attention without it, which is not trained
        by this: Gaussians move to where the question looks. Spans of the data are not used.
        """
        timeline = gated_timeline(self.router(question, frames, times=times))
        scores = self.scores(question, frames)
        aim = scores.softmax(-1).mean(1).detach()
        share = timeline / timeline.sum(-1, keepdim=True)
        apart = -(aim * (share + 1e-4).log()).sum(-1).mean()
        return self.read(scores + (FLOOR + timeline).log().unsqueeze(1), frames), apart

    def forward(self, question: Tensor, frames: Tensor, *, times: Tensor) -> Tensor:
        """Pools."""
        return self.masked(question, frames, times)[0]


class Mixture(GaussianSpan, TemporalMoE):
    """The whole layer in place of the attention."""


def masked_loss(model: Answerer, batch: Split) -> Tensor:
    """Cross-entropy of the answers, and the Gaussians' distance from the attention."""
    assert isinstance(model.part, MaskedReading)
    question, frames = model.encode(batch)
    pooled, apart = model.part.masked(question, frames, batch.timing["times"])
    return F.cross_entropy(model.answer(question, pooled), batch.questions.answers) + apart


def ask(concerts: Concerts) -> Split:
    """Who comes first or last, and how somebody plays (softly or loudly, slowly or fast): the span is the player's."""
    rows: list[tuple[int, int, int, int]] = []
    spans: list[tuple[float, float]] = []
    for clip, scene in enumerate(concerts.scenes):
        names = [INSTRUMENTS.index(player.instrument) for player in scene.players]
        rows += [(clip, 0, 0, names[0]), (clip, 1, 0, names[-1])]
        for name, player in zip(names, scene.players, strict=True):
            rows.append((clip, 2, 1 + name, len(INSTRUMENTS) + 2 * player.loud + player.fast))
        spans += [player.segments[0] for player in (scene.players[0], scene.players[-1], *scene.players)]
    clips, kinds, subjects, answers = torch.tensor(rows).unbind(-1)
    questions = Questions(clips, kinds, subjects, answers, torch.tensor(spans))
    return Split(concerts.frames, {"times": concerts.times.expand(len(concerts.frames), -1)}, questions)


@torch.no_grad()
def overlaps(model: Answerer, split: Split, choice: float) -> Tensor:  # [n]
    """Temporal IoU of each question's span with the truth."""
    assert isinstance(model.part, Reading | Mixture)
    batch = split.batch(torch.arange(len(split.questions.answers)))
    found = model.part.span(*model.encode(batch), choice, batch.timing["times"])
    start, end = split.questions.spans.unbind(-1)
    return temporal_iou(found, (start, end))


def measure(model: Answerer, val: Split, test: Split) -> dict[str, float]:
    """Answers and spans on `test`, the reach of spans chosen on `val`."""
    assert isinstance(model.part, Reading | Mixture)
    choice = max(model.part.choices, key=lambda choice: overlaps(model, val, choice).mean().item())
    overlap = overlaps(model, test, choice)
    found = {f"right, {name}": share for name, share in accuracy(model, test, KINDS).items()}
    for name, kind in KINDS.items():
        found[f"IoU, {name}"] = overlap[test.questions.kinds == kind].mean().item()
    return found | {"IoU, all": overlap.mean().item(), "IoU ≥ 0.5, all": (overlap >= 0.5).double().mean().item()}


def contenders(splits: Mapping[str, Split]) -> list[Contender]:
    """The attention, the same under a mask, and the whole layer in its place, of about one size."""

    def build(part: nn.Module) -> Answerer:
        return Answerer(part, splits["test"].frames.shape[-1], len(KINDS), 1 + len(INSTRUMENTS), len(INSTRUMENTS) + 4)

    score = partial(measure, val=splits["val"], test=splits["test"])
    return [
        Contender("attention, span cut from its weights", lambda: build(Reading(DIM)), score),
        Contender(
            "attention under `QuestionRouter`'s Gaussians", lambda: build(MaskedReading(DIM)), score, masked_loss
        ),
        Contender("`TemporalMoE`", lambda: build(Mixture(DIM, 7, 3, heads=4, hidden_dim=52)), score),
    ]


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Renders the concerts, trains every contender, and returns the record."""
    command = parser("grounding", __doc__ or "", epochs=30)
    add_concerts(command)
    command.add_argument("--val-concerts", type=positive, default=100, metavar="N", help="how many (100)")
    given = command.parse_args(arguments)
    counts = {"train": given.concerts, "val": given.val_concerts, "test": given.test_concerts}
    splits = {name: ask(concerts) for name, concerts in load_concerts(given.cache, counts, given.workers).items()}
    for split in splits.values():
        check_inputs(split.frames, times=split.timing["times"])
    test = splits["test"]
    caption = (
        f"Right answers, and temporal IoU of the span with the truth, in per cent, on {len(test.questions.answers)} "
        f"questions about {given.test_concerts} rendered concerts, trained on the answers to those about "
        f"{given.concerts}. The one span that fits validation best, for every question of a kind the same, reaches "
        f"{100 * constant_overlap(splits['val'].questions, test.questions):.1f}."
    )
    return finish(compare(contenders(splits), splits["train"], given, caption), given.out)


if __name__ == "__main__":
    sys.exit(run(main))
