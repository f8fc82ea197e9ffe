"""The published state dict's names and ours, in both directions."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

TEXT_TOWER = "quest_encoder."
"""Released checkpoints also hold the frozen text encoder under this prefix."""

# Published prefix -> ours, longest first where one contains another.
_PREFIXES = {
    "audio_proj.proj.": "audio_projection.",
    "video_proj.proj.": "video_projection.",
    "patch_proj.proj.": "patch_projection.",
    "words_proj.proj.": "words_projection.",
    "quest_proj.proj.": "question_projection.",
    "crs_attn.qst_attn.": "fusion.question_attention.",
    "crs_attn.crs_attn.": "fusion.cross_attention.",
    "crs_attn.slf_attn.": "fusion.self_attention.",
    "crs_attn.": "fusion.",
    "patch_selecter.slf_attn.": "patch_fusion.self_attention.",
    "patch_selecter.crs_attn.": "patch_fusion.cross_attention.",
    "patch_selecter.anorm.": "patch_fusion.audio_norm.",
    "patch_selecter.vnorm.": "patch_fusion.video_norm.",
    "patch_selecter.": "patch_fusion.",
    "quest_grounding.attn.": "refiner.attention.",
    "quest_grounding.": "refiner.",
    "at_aggregator.norm.": "audio_moe.norms.0.",
    "at_aggregator.qst_attn.": "audio_moe.router.attention.",
    "at_aggregator.router.0.": "audio_moe.router.gate.",
    "at_aggregator.gauss_pred.0.": "audio_moe.router.gaussian.",
    "vt_aggregator.anorm.": "visual_moe.norms.0.",
    "vt_aggregator.vnorm.": "visual_moe.norms.1.",
    "vt_aggregator.qst_attn.": "visual_moe.router.attention.",
    "vt_aggregator.router.0.": "visual_moe.router.gate.",
    "vt_aggregator.gauss_pred.0.": "visual_moe.router.gaussian.",
    "head.": "head.",
}
_EXPERT = re.compile(r"(at|vt)_aggregator\.experts\.(\d+)\.([02])\.(weight|bias)")
_BANK = re.compile(r"(audio|visual)_moe\.experts\.(weight|bias)([12])")


def from_released(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Turns a released state dict into ours.

    Args:
        state: tensors under the published names; a leading "module." (from DataParallel) is taken off.

    Returns:
        The state dict of `QATiger`, and the frozen text tower's tensors without their prefix.

    Raises:
        ValueError: a name that is not a published one, or experts whose numbers have gaps.
    """
    ours: dict[str, Tensor] = {}
    text: dict[str, Tensor] = {}
    experts: dict[str, dict[int, Tensor]] = {}
    for released, tensor in state.items():
        name = released.removeprefix("module.")
        if name.startswith(TEXT_TOWER):
            text[name.removeprefix(TEXT_TOWER)] = tensor
        elif match := _EXPERT.fullmatch(name):
            stream, number, layer, kind = match.groups()
            moe = "audio_moe" if stream == "at" else "visual_moe"
            experts.setdefault(f"{moe}.experts.{kind}{int(layer) // 2 + 1}", {})[int(number)] = tensor
        else:
            ours[_renamed(name, _PREFIXES)] = tensor
    for name, bank in experts.items():
        if sorted(bank) != list(range(len(bank))):
            raise ValueError(f"experts of {name} are numbered {sorted(bank)}, wanted 0 ... {len(bank) - 1}")
        ours[name] = torch.stack([bank[number] for number in range(len(bank))])
    return ours, text


def to_released(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turns the state dict of `QATiger` into the published names; the inverse of `from_released`.

    Raises:
        ValueError: a name that is not one of `QATiger`'s.
    """
    published: dict[str, Tensor] = {}
    prefixes = {ours: released for released, ours in _PREFIXES.items()}
    for name, tensor in state.items():
        if match := _BANK.fullmatch(name):
            modality, kind, layer = match.groups()
            stream = "at" if modality == "audio" else "vt"
            for number, part in enumerate(tensor.unbind()):
                published[f"{stream}_aggregator.experts.{number}.{2 * int(layer) - 2}.{kind}"] = part
        else:
            published[_renamed(name, prefixes)] = tensor
    return published


def _renamed(name: str, prefixes: Mapping[str, str]) -> str:
    for old in sorted(prefixes, key=len, reverse=True):
        if name.startswith(old):
            return prefixes[old] + name.removeprefix(old)
    raise ValueError(f"{name!r} is not a name of QA-TIGER's state dict")
