"""CLIP, pictures and words of the preset `paper`, through transformers: ViT-L/14 at 336 pixels, frozen, in float32.

Radford et al., Learning Transferable Visual Models From Natural Language Supervision (ICML 2021).

T frames, n texts, L words, D channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPTextModelWithProjection, CLIPTokenizer, CLIPVisionModelWithProjection
from transformers.utils import logging

from ..errors import UserError
from .base import EncodedText
from .pictures import middle, normalised

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
_BATCH = 32


class ClipPictures(nn.Module):
    """Frames to projected image features, not normalised.

    Args:
        folder: of config.json and the weights.
        device: where it computes.

    Raises:
        UserError: the folder holds no CLIP model, or weights are missing.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        super().__init__()
        self.model = _loaded(CLIPVisionModelWithProjection, folder, _config(folder).vision_config).to(device)
        self.size: int = self.model.config.image_size
        self.device = device

    def prepare(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """A frame [H, W, 3] as the tower sees it: [336, 336, 3]."""
        return middle(frame, self.size, self.size)

    @torch.no_grad()
    def forward(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> Tensor:
        """Encodes T prepared pictures: [T, D]."""
        features: Tensor = self.model(pixel_values=normalised(pictures, _MEAN, _STD, self.device)).image_embeds
        return features


class ClipWords(nn.Module):
    """Texts to the projected end-of-text token, and to all 77 last hidden states after the final LayerNorm.

    Args:
        folder: of config.json, the weights and the tokenizer.
        device: where it computes.

    Raises:
        UserError: the folder holds no CLIP model, or weights are missing.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        super().__init__()
        self.model = _loaded(CLIPTextModelWithProjection, folder, _config(folder).text_config).to(device)
        try:
            self.tokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
        except Exception as error:  # of many kinds, from a library below
            raise UserError(f"{folder} holds no tokenizer of CLIP: {' '.join(str(error).split())}") from error
        self.length: int = self.model.config.max_position_embeddings
        self.device = device

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> EncodedText:
        """Encodes n texts: question [n, D], words [n, 77, D].

        No word is padding, although a question has far fewer than 77: the published model attends to all of them, and
        what stands behind a text's end has seen the text.
        """
        batches = [self._encode(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
        if not batches:
            config = self.model.config
            batches = [(torch.zeros(0, config.projection_dim), torch.zeros(0, self.length, config.hidden_size))]
        question, words = (torch.cat(parts) for parts in zip(*batches, strict=True))
        return EncodedText(question, words, torch.zeros(words.shape[:2], dtype=torch.bool))

    def _encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        tokens, ends = self._tokens(texts)
        # Without a mask: attention is causal, so that nothing sees what stands behind it.
        hidden: Tensor = self.model(input_ids=tokens.to(self.device)).last_hidden_state
        question: Tensor = self.model.text_projection(hidden[torch.arange(len(ends)), ends])
        return question.cpu(), hidden.cpu()

    def _tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token numbers [n, 77], and where each text ends [n].

        Zeros stand behind the end, as in CLIP's own tokenizer, whereas that of transformers repeats the end: the
        hidden states there, which the published model attends to, differ.
        """
        tokens = torch.zeros(len(texts), self.length, dtype=torch.int64)
        ends = torch.zeros(len(texts), dtype=torch.int64)
        for row, text in enumerate(texts):
            numbers = self.tokenizer(text)["input_ids"]
            # A text that is too long keeps its end.
            kept = [*numbers[: self.length - 1], numbers[-1]] if len(numbers) > self.length else numbers
            tokens[row, : len(kept)] = torch.tensor(kept)
            ends[row] = len(kept) - 1
        return tokens, ends


def clip_widths(folder: Path) -> tuple[int, int]:
    """Channels of projected features, and of words, of the model in a folder.

    Raises:
        UserError: its config.json is none of CLIP's.
    """
    config = _config(folder)
    return int(config.projection_dim), int(config.text_config.hidden_size)


def _config(folder: Path) -> Any:
    try:
        with _quiet():
            config: Any = CLIPConfig.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # of many kinds, from a library below
        raise UserError(f"{folder}/config.json describes no CLIP model: {' '.join(str(error).split())}") from error
    # A tower alone would read its own number, which a file for both towers may lack.
    config.text_config.projection_dim = config.vision_config.projection_dim = config.projection_dim
    return config


def _loaded(kind: Any, folder: Path, config: Any) -> Any:
    try:
        with _quiet():
            model, report = kind.from_pretrained(
                str(folder),
                config=config,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except Exception as error:  # of many kinds, from libraries below
        raise UserError(f"{folder} holds no weights of CLIP: {' '.join(str(error).split())}") from error
    # These would be left at random values.
    for what, fault in (("missing_keys", "lacks"), ("mismatched_keys", "has other shapes than its config.json of")):
        names = sorted(str(name) for name in report[what])
        if names:
            raise UserError(f"{folder} {fault} {len(names)} weights of CLIP, {names[0]} among them; download it again")
    return model.float().eval().requires_grad_(False)


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars, and no list of the other tower's weights, which are not used here."""
    # The library has no types.
    library: Any = logging
    level, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity_error()
    library.disable_progress_bar()
    try:
        yield
    finally:
        library.set_verbosity(level)
        if bars:
            library.enable_progress_bar()
