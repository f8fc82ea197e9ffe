"""Top-K frames, the temporal part of TSPM, replaced by `TemporalMoE`: `python -m examples.dropins.top_frames`.

TSPM (Li, Du and Hu, ACM MM 2024, section 3.3) lets the question attend to the frames, keeps the K that it attends to
most, and reads those. Which frame came first is lost there. Both parts are called alike,
`part(question, frames, **timing)`, so that the swap is one line; see `contenders`.

B batch, T frames, D channels, K frames that are kept.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from examples.avqa.top_frames import attention_weights, top_frames
from gaussian_moe import TemporalMoE, check_inputs
from gaussian_moe.attention import Attention

from .command import Contender, compare, finish, parser, run
from .concerts import INSTRUMENTS, Concerts, add_concerts, load_concerts
from .training import DIM, Answerer, Questions, Split, accuracy

KINDS = {"which is first": 0, "which is last": 1, "which at second T": 2}
MOMENTS = (5.0, 10.0, 15.0, 20.0, 25.0)
"""T, in seconds."""
COUNT = 10
"""Of 30 frames as many are kept."""


class TopFrames(nn.Module):
    """What is replaced: `LN(a + MLP(a))`, a what the question reads in the K frames that it attends to most.

    Selecting has no gradient, so the attention that selects stays as it is initialised, as in TSPM's published code.
    """

    def __init__(self, dim: int, count: int, heads: int = 4, hidden: int = 240) -> None:
        super().__init__()
        self.count = count
        self.selection, self.reading = Attention(dim, heads), Attention(dim, heads)
        self.selection.requires_grad_(False)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        question: Tensor,  # [B, D]
        frames: Tensor,  # [B, T, D]
        **timing: Tensor,
    ) -> Tensor:  # [B, D]
        """Pools; `timing` has no place here."""
        asked = question.unsqueeze(1)
        chosen, _ = top_frames(attention_weights(self.selection, asked, frames), self.count)
        kept = frames.gather(1, chosen.squeeze(1).unsqueeze(-1).expand(-1, -1, frames.shape[-1]))
        read = self.reading(asked, kept).squeeze(1)
        pooled: Tensor = self.norm(read + self.mlp(read))
        return pooled


def ask(concerts: Concerts) -> Split:
    """Who comes first, who last, and who plays at a moment."""
    rows: list[tuple[int, int, int, int]] = []
    for clip, scene in enumerate(concerts.scenes):
        rows += [
            (clip, kind, 0, INSTRUMENTS.index(scene.players[place].instrument)) for kind, place in ((0, 0), (1, -1))
        ]
        for number, moment in enumerate(MOMENTS, start=1):
            for player in scene.players:
                # Half a second to either side, so that a second of features holds the answer.
                if player.onset + 0.5 <= moment <= player.segments[-1][1] - 0.5:
                    rows.append((clip, 2, number, INSTRUMENTS.index(player.instrument)))
    clips, kinds, subjects, answers = torch.tensor(rows).unbind(-1)
    questions = Questions(clips, kinds, subjects, answers, torch.zeros(len(rows), 2))
    return Split(concerts.frames, {"times": concerts.times.expand(len(concerts.frames), -1)}, questions)


def contenders(test: Split) -> list[Contender]:
    """The part that is replaced and its replacement, each with frames that know their time and that do not."""

    def row(name: str, part: type[nn.Module], coded: bool, **sizes: int) -> Contender:
        return Contender(
            name + (", frames know their time" if coded else ""),
            lambda: Answerer(part(DIM, **sizes), test.frames.shape[-1], 3, len(MOMENTS) + 1, len(INSTRUMENTS), coded),
            lambda model: accuracy(model, test, KINDS),
        )

    return [
        row(name, part, coded, **sizes)
        for coded in (False, True)
        for name, part, sizes in (
            ("top-K frames", TopFrames, {"count": COUNT}),
            ("`TemporalMoE`", TemporalMoE, {"num_experts": 7, "top_k": 3, "heads": 4}),
        )
    ]


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Renders the concerts, trains every contender, and returns the record."""
    command = parser("top_frames", __doc__ or "", epochs=20)
    add_concerts(command)
    given = command.parse_args(arguments)
    splits = load_concerts(given.cache, {"train": given.concerts, "test": given.test_concerts}, given.workers)
    asked = {name: ask(concerts) for name, concerts in splits.items()}
    for split in asked.values():
        check_inputs(split.frames, times=split.timing["times"])
    count = len(asked["test"].questions.answers)
    caption = (
        f"Accuracy in per cent on {count} questions about {given.test_concerts} rendered concerts, trained on "
        f"{given.concerts}; chance is 12.5. K = {COUNT} of 30 frames."
    )
    return finish(compare(contenders(asked["test"]), asked["train"], given, caption), given.out)


if __name__ == "__main__":
    sys.exit(run(main))
