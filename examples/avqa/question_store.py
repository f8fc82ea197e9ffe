"""Every distinct question text encoded once, and kept in a file.

n texts, L words, D channels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from .encoders import EncodedText, Encoders
from .errors import UserError
from .files import written_whole

CHUNK = 64
SAVED = 64 * CHUNK
"""Texts after which the file is written, so that hours of work are not lost."""
_FIELD = "questions"
_ARRAYS = ("question", "words", "padding_mask")


class QuestionStore:
    """Encoded questions by text: sentence features and word features.

    What was read from the file stays on the disk until it is used: the rephrased questions of one data set, with the 77
    words of preset `paper`, take gigabytes.

    Args:
        encoders: preset whose `encode_text` is used.
        cache: `.safetensors` file that keeps what was encoded; None keeps nothing.

    Raises:
        UserError: the cache is broken, or of another preset or other weights.
    """

    def __init__(self, encoders: Encoders, cache: Path | None) -> None:
        self._encoders, self._cache = encoders, cache
        self._rows: dict[str, int] = {}
        dims = encoders.dims
        self.question = torch.zeros(0, dims.question)
        """[n, Dq]."""
        self.words = torch.zeros(0, 0, dims.words, dtype=encoders.words_dtype)
        """[n, L, Dw], 0 where there is no word; in the preset's precision."""
        self.padding_mask = torch.zeros(0, 0, dtype=torch.bool)
        """[n, L], True = no word here."""
        if cache is not None and cache.exists():
            self._read(cache)

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, texts: Iterable[str]) -> Tensor:
        """The rows [n] of texts that were added."""
        return torch.tensor([self._rows[text] for text in texts], dtype=torch.int64)

    def add(self, texts: Iterable[str]) -> None:
        """Encodes the texts that are new, with a progress bar, and writes the cache."""
        new = sorted(set(texts) - set(self._rows))
        with tqdm(total=len(new), desc="encode questions", unit="text", disable=len(new) < CHUNK) as bar:
            for first in range(0, len(new), SAVED):
                part, encoded = new[first : first + SAVED], list[EncodedText]()
                for start in range(0, len(part), CHUNK):
                    chunk = self._encoders.encode_text(part[start : start + CHUNK])
                    encoded.append(chunk._replace(words=chunk.words.to(self.words.dtype)))
                    bar.update(len(chunk.question))
                self._append(part, encoded)
                if self._cache is not None:
                    self._write(self._cache)

    def _append(self, texts: list[str], encoded: list[EncodedText]) -> None:
        length = max([self.words.shape[1], *(part.words.shape[1] for part in encoded)])
        self._rows.update({text: len(self._rows) + number for number, text in enumerate(texts)})
        self.question = torch.cat([self.question, *(part.question for part in encoded)])
        words = (self.words, *(part.words for part in encoded))
        self.words = torch.cat([_lengthened(rows, length, 0.0) for rows in words])
        masks = (self.padding_mask, *(part.padding_mask for part in encoded))
        self.padding_mask = torch.cat([_lengthened(mask, length, True) for mask in masks])

    def _write(self, cache: Path) -> None:
        about = {
            "preset": self._encoders.name,
            "weights": self._encoders.weights_id("texts"),
            "texts": list(self._rows),
        }
        with written_whole(cache) as temporary:
            # One field: several would be written in an order that changes from run to run.
            save_file({name: getattr(self, name) for name in _ARRAYS}, temporary, {_FIELD: json.dumps(about)})
        # From here on in the file, no longer in memory.
        with safe_open(cache, framework="pt") as stored:
            self.words = stored.get_tensor("words")

    def _read(self, cache: Path) -> None:
        try:
            with safe_open(cache, framework="pt") as stored:
                about = json.loads((stored.metadata() or {})[_FIELD])
                preset, weights, texts = about["preset"], about["weights"], about["texts"]
                arrays = [stored.get_tensor(name) for name in _ARRAYS]
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise UserError(f"{cache} is cut off, or no file of encoded questions; delete it") from error
        if preset != self._encoders.name:
            raise UserError(f"{cache}: encoded by preset {preset!r}, wanted {self._encoders.name!r}; delete it")
        if weights != self._known_weights(weights):
            raise UserError(f"{cache}: encoded by other weights of preset {preset!r}; delete it, or name another file")
        dims, shapes = self._encoders.dims, [tuple(array.shape) for array in arrays]
        length = shapes[1][1] if len(shapes[1]) == 3 else 0
        count = len(texts)
        if shapes != [(count, dims.question), (count, length, dims.words), (count, length)]:
            raise UserError(f"{cache}: arrays of shapes {shapes} are not {count} encoded questions; delete it")
        self._rows = {text: row for row, text in enumerate(texts)}
        self.question, self.words, self.padding_mask = arrays

    def _known_weights(self, stored: str) -> str:
        """The weights' id; where they are not at hand the stored one: what is encoded can be used without them."""
        try:
            return self._encoders.weights_id("texts")
        except UserError:
            return stored


def _lengthened(rows: Tensor, length: int, value: float) -> Tensor:
    """Rows [n, L, ...] padded to [n, length, ...]."""
    missing = rows.new_full((rows.shape[0], length - rows.shape[1], *rows.shape[2:]), value)
    return torch.cat((rows, missing), dim=1)
