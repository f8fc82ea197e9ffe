"""Every distinct question text encoded once, and kept in a file.

n texts, L words, D channels.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from .encoders import Encoders
from .errors import UserError
from .files import written_whole

CHUNK = 64


class QuestionStore:
    """Encoded questions by text: sentence features and word features.

    Args:
        encoders: preset whose `encode_text` is used.
        cache: `.npz` file that keeps what was encoded; None keeps nothing.

    Raises:
        UserError: the cache is broken or of another preset.
    """

    def __init__(self, encoders: Encoders, cache: Path | None) -> None:
        self._encoders, self._cache = encoders, cache
        self._rows: dict[str, int] = {}
        dims = encoders.dims
        self.question = torch.zeros(0, dims.question)
        """[n, Dq]."""
        self.words = torch.zeros(0, 0, dims.words)
        """[n, L, Dw], 0 where there is no word."""
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
        if not new:
            return
        with tqdm(total=len(new), desc="encode questions", unit="text", disable=len(new) < CHUNK) as bar:
            for start in range(0, len(new), CHUNK):
                self._append(new[start : start + CHUNK])
                bar.update(len(new[start : start + CHUNK]))
        if self._cache is not None:
            self._write(self._cache)

    def _append(self, texts: list[str]) -> None:
        encoded = self._encoders.encode_text(texts)
        length = max(self.words.shape[1], encoded.words.shape[1])
        self._rows.update({text: len(self._rows) + number for number, text in enumerate(texts)})
        self.question = torch.cat((self.question, encoded.question))
        self.words = torch.cat([_lengthened(words, length, 0.0) for words in (self.words, encoded.words)])
        masks = (self.padding_mask, encoded.padding_mask)
        self.padding_mask = torch.cat([_lengthened(mask, length, True) for mask in masks])

    def _write(self, cache: Path) -> None:
        with written_whole(cache) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                preset=np.array(self._encoders.name),
                texts=np.array(list(self._rows)),
                question=self.question.numpy(),
                words=self.words.numpy(),
                padding_mask=self.padding_mask.numpy(),
            )

    def _read(self, cache: Path) -> None:
        try:
            with np.load(cache, allow_pickle=False) as stored:
                preset, texts = str(stored["preset"]), [str(text) for text in stored["texts"]]
                arrays = [torch.from_numpy(stored[name]) for name in ("question", "words", "padding_mask")]
        # A lone array, not an archive, has neither names nor an end.
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise UserError(f"{cache} is cut off, or no file of encoded questions; delete it") from error
        if preset != self._encoders.name:
            raise UserError(f"{cache}: encoded by preset {preset!r}, wanted {self._encoders.name!r}; delete it")
        dims, shapes = self._encoders.dims, [tuple(array.shape) for array in arrays]
        length = shapes[1][1] if len(shapes[1]) == 3 else 0
        count = len(texts)
        if shapes != [(count, dims.question), (count, length, dims.words), (count, length)]:
            raise UserError(f"{cache}: arrays of shapes {shapes} are not {count} encoded questions; delete it")
        self._rows = {text: row for row, text in enumerate(texts)}
        self.question, self.words, self.padding_mask = arrays


def _lengthened(rows: Tensor, length: int, value: float) -> Tensor:
    """Rows [n, L, ...] padded to [n, length, ...]."""
    missing = rows.new_full((rows.shape[0], length - rows.shape[1], *rows.shape[2:]), value)
    return torch.cat((rows, missing), dim=1)
