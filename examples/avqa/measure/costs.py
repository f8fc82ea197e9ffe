"""What reproducing the paper takes: bytes on disk and multiplications, counted; hours, estimated from them.

`python -m examples.avqa.measure.costs --out examples/avqa/recorded/costs.json`. Nothing is downloaded and nothing is
run: the networks stand on torch's meta device. T frames, N patches of one frame.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from ..encoders.merging_vit import MergingViT
from ..encoders.vggish import VGGish
from ..files import write_json
from ..model import QATiger
from ..provenance import provenance
from ..tspm import TSPM
from .costs_table import costs_table

DATA_SETS: Mapping[str, Mapping[str, int]] = {
    "MUSIC-AVQA": {"videos": 9288, "train": 31927},
    "added by v2.0": {"videos": 1230, "train": 0},
}
"""Videos and training questions, as their papers count them (Li et al., CVPR 2022; Liu et al., WACV 2024)."""

FRAMES, WIDTHS = 60, {"audio": 128, "video": 768, "patches": 14 * 1024}
PUBLISHED_BYTES = dict.fromkeys(WIDTHS, 4)
FOLDER_BYTES, STORE_BYTES = {"audio": 4, "video": 2, "patches": 2}, dict.fromkeys(WIDTHS, 2)
"""Bytes of a number in float32 files, in the folder that `extract` writes, and in the packed store."""
SUSTAINED = 15e12
"""Multiplications and additions a second that a GPU is assumed to sustain in float32, in which preset `paper` encodes
and the published training computes."""
EPOCHS, BATCH = 15, 32


def clip_tower() -> nn.Module:
    """CLIP's ViT-L/14 at 336 pixels, without weights."""
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=24,
            num_attention_heads=16,
            image_size=336,
            patch_size=14,
            projection_dim=768,
        )
    )


def flops(make: Callable[[], nn.Module], inputs: Mapping[str, tuple[int, ...]], backward: bool = False) -> int:
    """Multiplications and additions of one call on the meta device, with `backward` of a training step."""
    with torch.device("meta"):
        model = make()
        tensors = {name: torch.zeros(shape) for name, shape in inputs.items()}
    with FlopCounterMode(display=False) as counter:
        out = model(**tensors)
        result = out[0] if isinstance(out, tuple) else out
        if backward:
            assert isinstance(result, Tensor)
            result.sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    return int(counter.get_total_flops())


def training_inputs(words: bool) -> dict[str, tuple[int, ...]]:
    """A batch of the published training."""
    shapes: dict[str, tuple[int, ...]] = {
        "audio": (BATCH, FRAMES, 128),
        "video": (BATCH, FRAMES, 768),
        "patches": (BATCH, FRAMES, 14, 1024),
        "question": (BATCH, 768),
    }
    return shapes | ({"words": (BATCH, 77, 768)} if words else {"prompt": (BATCH, 768)})


def count() -> dict[str, Any]:
    """All figures, as plain values."""
    a_frame = {
        "CLIP ViT-L/14@336": flops(clip_tower, {"pixel_values": (1, 3, 336, 336)}),
        "ViT-L/16-384, merging": flops(MergingViT, {"pictures": (1, 3, 384, 384)}),
        "VGGish": flops(VGGish, {"examples": (1, 96, 64)}),
    }
    a_step = {
        "QA-TIGER": flops(QATiger, training_inputs(True), backward=True),
        "TSPM": flops(TSPM, training_inputs(False), backward=True),
    }
    sets = {}
    for name, sizes in DATA_SETS.items():
        seconds = sizes["videos"] * FRAMES
        steps = EPOCHS * -(-sizes["train"] // BATCH)
        sets[name] = {
            **sizes,
            "published_bytes": seconds * sum(WIDTHS[part] * PUBLISHED_BYTES[part] for part in WIDTHS),
            "folder_bytes": seconds * sum(WIDTHS[part] * FOLDER_BYTES[part] for part in WIDTHS),
            "store_bytes": seconds * sum(WIDTHS[part] * STORE_BYTES[part] for part in WIDTHS),
            "extract_flops": seconds * sum(a_frame.values()),
            "train_flops": steps * a_step["QA-TIGER"],
            "steps": steps,
        }
    return {
        "provenance": provenance(),
        "a_frame": a_frame,
        "a_step": a_step,
        "sets": sets,
        "sustained": SUSTAINED,
        "batch": BATCH,
    }


def main() -> None:
    """Counts and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    out: Path = parser.parse_args().out
    record = count()
    write_json(out, record)
    print(costs_table(record))
    print(f"Written to {out}")


if __name__ == "__main__":
    main()
