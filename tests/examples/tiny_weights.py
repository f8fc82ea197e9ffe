"""Tiny random models of the kinds that preset `paper` wants, in a folder as a user would fill it. Synthetic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPConfig, CLIPModel

from examples.avqa.encoders.merging_vit import MergingViT, ViTSize
from examples.avqa.encoders.vggish import VGGish, VGGishSize

VIT = ViTSize(picture=32, patch=8, dim=16, depth=3, heads=1, mlp=24)
VGGISH = VGGishSize(channels=(2, 2, 3, 3, 4, 4), hidden=8, out=6)
WORDS, PROJECTED, PICTURE = 12, 8, 28
START, END = "<|startoftext|>", "<|endoftext|>"


def write_weights(folder: Path, seed: int = 0, projected: int = PROJECTED) -> Path:
    """Writes clip/, vit/ and vggish/; features are then 6 (sound), `projected` (picture) and 5 × 16 (patches) wide."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        write_clip(folder / "clip", projected)
        vit = MergingViT(VIT, merges=(0,) * VIT.depth)
        state = {name: value + 0.1 * torch.randn_like(value) for name, value in vit.state_dict().items()}
        (folder / "vit").mkdir(parents=True)
        save_file(
            state | {"head.weight": torch.zeros(5, 16), "head.bias": torch.zeros(5)}, folder / "vit/model.safetensors"
        )
        (folder / "vggish").mkdir(parents=True)
        network = VGGish(VGGISH)
        # As they are, so few channels would be 0 after the ReLUs, or hardly hear the sound.
        for name, value in network.state_dict().items():
            value.add_(0.5) if name.endswith("bias") else value.mul_(3)
        torch.save(network.state_dict(), folder / "vggish/vggish-10086976.pth")
    return folder


def write_clip(folder: Path, projected: int = PROJECTED) -> None:
    """A CLIP model with a tokenizer that knows single letters and the word `is`."""
    folder.mkdir(parents=True)
    letters = sorted(ByteLevel.alphabet())
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), "is</w>", START, END]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\ni s</w>\n")
    sizes: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    start, end = len(vocabulary) - 2, len(vocabulary) - 1
    tokens = {"bos_token_id": start, "eos_token_id": end, "pad_token_id": end}
    config = CLIPConfig(
        text_config={"vocab_size": len(vocabulary), "hidden_size": WORDS, **tokens, **sizes},
        vision_config={"hidden_size": 10, "image_size": PICTURE, "patch_size": 14, **sizes},
        projection_dim=projected,
    )
    CLIPModel(config).save_pretrained(folder)
