"""A vision transformer whose tokens merge from block to block, under timm's weight names, without timm.

Dosovitskiy et al., An Image is Worth 16x16 Words (ICLR 2021), with token merging between attention and MLP
(`token_merging.py`). As `vit_large_patch16_384` with 25 merges in each of 23 blocks, 577 tokens become 14: fewer than
25 pairs are left in the last of them.

B pictures, N tokens, D channels, C channels of one head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from .token_merging import match, merge


class ViTSize(NamedTuple):
    """Sizes of a vision transformer; by default those of ViT-L/16 at 384 pixels."""

    picture: int = 384
    patch: int = 16
    dim: int = 1024
    depth: int = 24
    heads: int = 16
    mlp: int = 4096


PAPER_MERGES = (25,) * 23 + (0,)
"""Pairs that merge in each block, as TSPM and QA-TIGER extracted their patches."""


class MergingViT(nn.Module):
    """Pictures to what is left of their tokens, the class token first, after the last LayerNorm.

    Args:
        size: of the transformer.
        merges: how many pairs merge in each block, one number a block.

    Raises:
        ValueError: not one number a block, or sizes that do not divide.

    Examples:
        >>> import torch
        >>> from examples.avqa.encoders.merging_vit import MergingViT, ViTSize
        >>> vit = MergingViT(ViTSize(picture=32, patch=8, dim=16, depth=2, heads=2, mlp=32), merges=(5, 5))
        >>> tokens, sizes = vit(torch.zeros(1, 3, 32, 32))
        >>> tokens.shape, sizes.sum().item()
        (torch.Size([1, 7, 16]), 17.0)
    """

    def __init__(self, size: ViTSize = ViTSize(), merges: Sequence[int] = PAPER_MERGES) -> None:  # noqa: B008  # frozen
        super().__init__()
        if len(merges) != size.depth:
            raise ValueError(f"merges must hold a number for each of {size.depth} blocks, got {len(merges)}")
        if size.picture % size.patch or size.dim % size.heads:
            raise ValueError(f"patch must divide picture, and heads dim, got {size}")
        self.size, self.merges = size, tuple(merges)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, size.dim, size.patch, stride=size.patch)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, (size.picture // size.patch) ** 2 + 1, size.dim))
        self.blocks = nn.ModuleList(_Block(size) for _ in range(size.depth))
        self.norm = nn.LayerNorm(size.dim, eps=1e-6)

    def forward(
        self,
        pictures: Tensor,  # [B, 3, picture, picture], normalised
    ) -> tuple[Tensor, Tensor]:  # [B, N, D], [B, N]
        """Encodes; also returns how many patches each token stands for (the class token counts as one)."""
        patches = self.patch_embed["proj"](pictures).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.cls_token.expand(len(pictures), -1, -1), patches), dim=1) + self.pos_embed
        sizes = tokens.new_ones(tokens.shape[:2])
        for block, r in zip(self.blocks, self.merges, strict=True):
            tokens, sizes = block(tokens, sizes, r)
        return self.norm(tokens), sizes


class _Block(nn.Module):
    def __init__(self, size: ViTSize) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(size.dim, eps=1e-6)
        self.attn = _Attention(size)
        self.norm2 = nn.LayerNorm(size.dim, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(size.dim, size.mlp), "fc2": nn.Linear(size.mlp, size.dim)})

    def forward(self, tokens: Tensor, sizes: Tensor, r: int) -> tuple[Tensor, Tensor]:
        attended, keys = self.attn(self.norm1(tokens), sizes)
        tokens = tokens + attended
        if r:
            tokens, sizes = merge(tokens, sizes, match(keys, r))
        return tokens + self.mlp["fc2"](nn.functional.gelu(self.mlp["fc1"](self.norm2(tokens)))), sizes


class _Attention(nn.Module):
    """Proportional attention: a token that stands for several counts as several."""

    def __init__(self, size: ViTSize) -> None:
        super().__init__()
        self.heads = size.heads
        self.qkv = nn.Linear(size.dim, 3 * size.dim)
        self.proj = nn.Linear(size.dim, size.dim)

    def forward(
        self,
        tokens: Tensor,  # [B, N, D]
        sizes: Tensor,  # [B, N]
    ) -> tuple[Tensor, Tensor]:  # [B, N, D], [B, N, C]
        query, key, value = rearrange(self.qkv(tokens), "b n (three h c) -> three b h n c", three=3, h=self.heads)
        scores = query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1])
        attention = (scores + sizes.log()[:, None, None]).softmax(-1)
        return self.proj(rearrange(attention @ value, "b h n c -> b n (h c)")), key.mean(1)
