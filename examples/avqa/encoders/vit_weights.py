"""The token-merging vision transformer with timm's weights, read from a file without timm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..errors import UserError
from .merging_vit import MergingViT, ViTSize
from .state_file import read_state

MERGED = 25
"""Pairs that merge in each block but the last, as TSPM and QA-TIGER extracted their patches."""

# timm's transformers of this kind have 64 channels a head, which the weights' shapes do not tell.
_HEAD_CHANNELS = 64


def vit_size(state: Mapping[str, Tensor], path: Path) -> ViTSize:
    """The sizes of a state dict's transformer.

    Raises:
        UserError: it holds no weights of such a transformer.
    """
    try:
        dim, _, patch, _ = state["patch_embed.proj.weight"].shape
        side = math.isqrt(state["pos_embed"].shape[1] - 1)
        mlp = state["blocks.0.mlp.fc1.weight"].shape[0]
    except (KeyError, ValueError, IndexError) as error:
        raise UserError(
            f"{path} holds no weights of a vision transformer under timm's names ({error}); "
            "timm's vit_large_patch16_384 is wanted"
        ) from error
    depth = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
    return ViTSize(side * patch, patch, dim, depth, max(dim // _HEAD_CHANNELS, 1), mlp)


def merges_of(size: ViTSize) -> tuple[int, ...]:
    """Pairs that merge in each block."""
    return (MERGED,) * (size.depth - 1) + (0,)


def tokens_left(size: ViTSize) -> int:
    """Tokens after the last block: 14 of the published transformer's 577."""
    tokens = (size.picture // size.patch) ** 2 + 1
    for merged in merges_of(size):
        tokens -= min(merged, (tokens - 1) // 2)
    return tokens


def load_vit(path: Path) -> MergingViT:
    """The transformer with the weights of a file, for inference; the classifier, `head.*`, is left out.

    Args:
        path: timm's model.safetensors, or a state dict as .bin or .pth.

    Raises:
        UserError: the file cannot be read, or holds other names or shapes; the message says which.
    """
    state = {name: value for name, value in read_state(path).items() if not name.startswith("head.")}
    size = vit_size(state, path)
    try:
        # What would be drawn at random is overwritten anyway.
        with torch.device("meta"):
            model = MergingViT(size, merges_of(size))
        model.load_state_dict(state, assign=True)
    # Sizes that do not divide, or names and shapes.
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"{path} holds other weights than timm's vit_large_patch16_384: {' '.join(str(error).split())}"
        ) from error
    return model.float().eval().requires_grad_(False)
