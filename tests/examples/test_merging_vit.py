"""Token merging and the vision transformer around it, against loops and against torch's own transformer."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from examples.avqa.encoders.merging_vit import PAPER_MERGES, MergingViT, ViTSize
from examples.avqa.encoders.token_merging import match, merge

TINY = ViTSize(picture=32, patch=8, dim=16, depth=3, heads=2, mlp=24)


def merged_slowly(tokens: Tensor, sizes: Tensor, keys: Tensor, r: int) -> tuple[Tensor, Tensor]:
    """One picture, token by token: [N, D], [N], [N, C]."""
    first, second = list(range(0, len(tokens), 2)), list(range(1, len(tokens), 2))
    proposals = []
    for a in first[1:]:
        cosines = [float(torch.cosine_similarity(keys[a], keys[b], dim=0)) for b in second]
        proposals.append((max(cosines), -a, second[cosines.index(max(cosines))]))
    chosen = sorted(proposals, reverse=True)[: min(r, len(second), len(proposals))]
    partners = {-a: b for _, a, b in chosen}
    found, weights = [], []
    for token in [a for a in first if a not in partners] + second:
        members = [token, *(a for a, b in partners.items() if b == token)]
        weight = torch.stack([sizes[member] for member in members]).sum()
        found.append(torch.stack([tokens[member] * sizes[member] for member in members]).sum(0) / weight)
        weights.append(weight)
    return torch.stack(found), torch.stack(weights)


@given(num_tokens=st.integers(2, 14), r=st.integers(0, 8), seed=st.integers(0, 999))
def test_merging_is_the_slow_one(num_tokens: int, r: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    tokens, keys = (torch.randn(2, num_tokens, C, generator=generator, dtype=torch.float64) for C in (3, 5))
    sizes = torch.randint(1, 9, (2, num_tokens), generator=generator).double()
    got, total = merge(tokens, sizes, match(keys, r))
    for picture in range(2):
        wanted, weights = merged_slowly(tokens[picture], sizes[picture], keys[picture], min(r, (num_tokens - 1) // 2))
        torch.testing.assert_close(got[picture], wanted)
        torch.testing.assert_close(total[picture], weights)
    torch.testing.assert_close(total.sum(-1), sizes.sum(-1))


def randomised(vit: MergingViT) -> MergingViT:
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return vit.double().eval()


def test_577_tokens_become_14_and_nothing_is_lost() -> None:
    """At the paper's number of tokens and blocks, with few channels."""
    vit = randomised(MergingViT(ViTSize(dim=8, heads=2, mlp=8)))
    counts = []
    for block in vit.blocks:
        block.register_forward_hook(lambda module, inputs, output: counts.append(output[0].shape[1]))
    with torch.no_grad():
        tokens, sizes = vit(torch.randn(2, 3, 384, 384, dtype=torch.float64))
    assert tokens.shape == (2, 14, 8)
    assert counts == [*range(552, 51, -25), 27, 14, 14]
    torch.testing.assert_close(sizes.sum(-1), torch.full((2,), 577.0, dtype=torch.float64))
    assert sizes[:, 0].tolist() == [1.0, 1.0]
    assert len(PAPER_MERGES) == 24


def test_without_merging_it_is_a_plain_vision_transformer() -> None:
    vit = randomised(MergingViT(TINY, merges=(0, 0, 0)))
    layers = []
    for block in vit.blocks:
        layer = nn.TransformerEncoderLayer(
            16, 2, 24, dropout=0.0, activation="gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
        ).double()
        ours = {
            "self_attn.in_proj_weight": "attn.qkv.weight",
            "self_attn.in_proj_bias": "attn.qkv.bias",
            "self_attn.out_proj.weight": "attn.proj.weight",
            "self_attn.out_proj.bias": "attn.proj.bias",
            **{f"linear{n}.{kind}": f"mlp.fc{n}.{kind}" for n in (1, 2) for kind in ("weight", "bias")},
            **{f"norm{n}.{kind}": f"norm{n}.{kind}" for n in (1, 2) for kind in ("weight", "bias")},
        }
        state = block.state_dict()
        layer.load_state_dict({name: state[source] for name, source in ours.items()})
        layers.append(layer)
    pictures = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        patches = torch.nn.functional.unfold(pictures, 8, stride=8).transpose(1, 2)
        state = vit.state_dict()
        x = patches @ state["patch_embed.proj.weight"].flatten(1).T + state["patch_embed.proj.bias"]
        x = torch.cat((vit.cls_token.expand(2, -1, -1), x), 1) + vit.pos_embed
        for layer in layers:
            x = layer(x)
        tokens, sizes = vit(pictures)
        torch.testing.assert_close(tokens, vit.norm(x))
    assert torch.equal(sizes, torch.ones_like(sizes))


def test_equal_tokens_that_merge_change_nothing_later() -> None:
    """Proportional attention: two tokens that are the same count as two also once they are one."""
    vit = randomised(MergingViT(TINY, merges=(8, 0, 0)))
    plain = MergingViT(TINY, merges=(0, 0, 0)).double().eval()
    with torch.no_grad():
        vit.pos_embed[:, 1:] = vit.pos_embed[:, 1:2]
    plain.load_state_dict(vit.state_dict())
    pictures = torch.randn(1, 3, 1, 1, dtype=torch.float64).expand(2, 3, 32, 32)
    with torch.no_grad():
        (merged, sizes), (whole, _) = vit(pictures), plain(pictures)
    assert merged.shape[1] == 17 - 8
    torch.testing.assert_close(merged[:, 0], whole[:, 0])
    assert sizes.max() > 1


def test_names_are_those_of_timm() -> None:
    with torch.device("meta"):
        state = MergingViT().state_dict()
    block = [f"{part}.{kind}" for part in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
             for kind in ("weight", "bias")]  # fmt: skip
    wanted = {f"blocks.{number}.{name}" for number in range(24) for name in block}
    wanted |= {"cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias", "norm.weight", "norm.bias"}
    assert set(state) == wanted
    assert state["pos_embed"].shape == (1, 577, 1024)
    assert state["blocks.0.attn.qkv.weight"].shape == (3072, 1024)


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="merges must hold a number for each of 3 blocks, got 2"):
        MergingViT(TINY, merges=(1, 1))
    with pytest.raises(ValueError, match="patch must divide picture"):
        MergingViT(TINY._replace(picture=33), merges=(0, 0, 0))
