"""Mean pooling over a video backbone's features replaced by `TemporalMoE`: `python -m examples.dropins.video_backbone`.

The backbone is a VideoMAE of Hugging Face transformers, frozen: with random weights in a tiny configuration, or with
real ones by `--backbone MCG-NJU/videomae-base`. Its tokens stand for tubelets, 2 frames each, and a clip is longer
than what it sees at once; `clip_features` shows what follows for `times` and `lengths`.

N clips, L frames of a clip, T time steps (tubelets), C channels of the backbone, B batch, D channels.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm
from transformers import VideoMAEConfig, VideoMAEModel

from examples.avqa.errors import UserError
from gaussian_moe import TemporalMoE, check_inputs

from .command import Contender, compare, finish, parser, positive, run
from .shapes import COLORS, SIDE, Clip, draw_clip
from .training import DIM, Answerer, Questions, Split, accuracy

KINDS = {"which is first": 0, "which is second": 1, "which is last": 2}
TINY = VideoMAEConfig(
    image_size=SIDE,
    patch_size=8,
    num_frames=16,
    tubelet_size=2,
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=128,
    use_mean_pooling=False,
)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pictures, as VideoMAE's own preprocessing has them."""


class MeanPooling(nn.Module):
    """What is replaced: the mean over time of an MLP of each frame, `LN(mean_t MLP(x_t))`, padding left out."""

    def __init__(self, dim: int, hidden: int = 364) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        question: Tensor,  # [B, D]
        frames: Tensor,  # [B, T, D]
        *,
        times: Tensor,  # [B, T]
        lengths: Tensor,  # [B]
    ) -> Tensor:  # [B, D]
        """Pools; question and times have no place here."""
        valid = torch.arange(frames.shape[1], device=frames.device) < lengths.unsqueeze(-1)
        total = (self.mlp(frames) * valid.unsqueeze(-1)).sum(1)
        pooled: Tensor = self.norm(total / lengths.clamp(min=1).unsqueeze(-1))
        return pooled


def load_backbone(name: str | None) -> VideoMAEModel:
    """The tiny one with random weights, or one of the hub or of a folder.

    Raises:
        UserError: there is no such model.
    """
    if name is None:
        torch.manual_seed(0)
        backbone: VideoMAEModel = VideoMAEModel(TINY).train(False)
        return backbone
    try:
        backbone = VideoMAEModel.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise UserError(f"--backbone: {name} cannot be loaded ({str(error).splitlines()[0]})") from error
    return backbone


@torch.inference_mode()
def clip_features(backbone: VideoMAEModel, clip: Clip) -> tuple[Tensor, Tensor]:
    """What the layers take of one clip: a feature for each tubelet [T, C], and its time in seconds [T].

    The clip is cut into windows of the backbone's frames; the last one is filled with its last frame, and what then
    rests on filling alone is dropped.
    """
    config = backbone.config
    window, tubelet = config.num_frames, config.tubelet_size
    count = len(clip.frames)
    pixels = (clip.frames - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    pixels = F.interpolate(pixels, size=config.image_size, mode="bilinear", antialias=True)
    pixels = torch.cat([pixels, pixels[-1:].expand(-count % window, -1, -1, -1)])
    tokens = backbone(pixels.reshape(-1, window, *pixels.shape[1:])).last_hidden_state
    # A window's tokens are [steps x patches, C], time first.
    features = tokens.reshape(len(tokens), window // tubelet, -1, tokens.shape[-1]).mean(2).flatten(0, 1)
    steps = -(-count // tubelet)
    # Frame i was taken at i / rate; a tubelet stands in the middle of its frames, not at its own number.
    times = (torch.arange(steps) * tubelet + (tubelet - 1) / 2) / clip.rate
    return features[:steps].clone(), times


def ask(backbone: VideoMAEModel, split: int, count: int) -> Split:
    """Clips of one split, padded to the longest, and which colour each shows first, second and last."""
    clips = [draw_clip(split, index) for index in range(count)]
    found = [clip_features(backbone, clip) for clip in tqdm(clips, desc="encoding", unit="clip", leave=False)]
    features, times = (nn.utils.rnn.pad_sequence(list(part), batch_first=True) for part in zip(*found, strict=True))
    # In time steps of the backbone, not in frames of the clip.
    lengths = torch.tensor([len(part) for part, _ in found])
    numbers, kinds = torch.arange(count).repeat_interleave(len(KINDS)), torch.arange(len(KINDS)).repeat(count)
    answers = torch.tensor([clip.colors for clip in clips]).flatten()
    questions = Questions(numbers, kinds, torch.zeros_like(kinds), answers, torch.zeros(len(kinds), 2))
    return Split(features, {"times": times, "lengths": lengths}, questions)


def contenders(test: Split) -> list[Contender]:
    """The part that is replaced and its replacement, each with frames that know their time and that do not."""

    def row(name: str, part: type[nn.Module], coded: bool, **sizes: int) -> Contender:
        return Contender(
            name + (", frames know their time" if coded else ""),
            lambda: Answerer(part(DIM, **sizes), test.frames.shape[-1], len(KINDS), 1, len(COLORS), coded),
            lambda model: accuracy(model, test, KINDS),
        )

    parts: list[tuple[str, type[nn.Module], dict[str, int]]] = [
        ("mean pooling", MeanPooling, {}),
        ("`TemporalMoE`", TemporalMoE, {"num_experts": 7, "top_k": 3, "heads": 4}),
    ]
    return [row(name, part, coded, **sizes) for coded in (False, True) for name, part, sizes in parts]


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Draws and encodes the clips, trains every contender, and returns the record."""
    command = parser("video_backbone", __doc__ or "", epochs=30)
    command.add_argument(
        "--backbone", metavar="NAME", help="VideoMAE weights of the hub or in a folder; random if absent"
    )
    for name, count in (("clips", 500), ("test-clips", 200)):
        command.add_argument(f"--{name}", type=positive, default=count, metavar="N", help=f"how many ({count})")
    given = command.parse_args(arguments)
    backbone = load_backbone(given.backbone)
    train, test = (ask(backbone, split, count) for split, count in enumerate((given.clips, given.test_clips)))
    # Over what is there: zeros of the padding would pull the mean.
    valid = torch.arange(train.frames.shape[1]) < train.timing["lengths"].unsqueeze(-1)
    std, mean = torch.std_mean(train.frames[valid], dim=0)
    train, test = (split._replace(frames=(split.frames - mean) / (std + 1e-6)) for split in (train, test))
    for split in (train, test):
        check_inputs(split.frames, times=split.timing["times"], lengths=split.timing["lengths"])
    caption = (
        f"Accuracy in per cent on {len(test.questions.answers)} questions about {given.test_clips} synthetic clips of "
        f"moving shapes, trained on {given.clips}; chance is 16.7, and 33.3 for whoever sees which colours there are. "
        f"Features of {given.backbone or 'a tiny VideoMAE with random weights'}, frozen."
    )
    return finish(compare(contenders(test), train, given, caption), given.out)


if __name__ == "__main__":
    sys.exit(run(main))
