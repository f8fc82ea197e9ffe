"""Every distinct question text encoded once, and kept in a folder of parts that are never written again.

n texts, L words, D channels.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from .encoders import EncodedText, Encoders
from .errors import UserError
from .files import sweep_temporaries, written_whole
from .json_text import decoded

CHUNK = 64
SAVED = 64 * CHUNK
"""Texts of one part, so that hours of work are not lost."""
_FIELD = "questions"
_SUFFIX = ".safetensors"


class _Part(NamedTuple):
    """One file, mapped: what is not used stays on the disk."""

    weights: str
    texts: list[str]
    encoded: EncodedText


class QuestionStore:
    """Encoded questions by text: sentence features and word features.

    A part is a file of up to 4096 texts under a name that its texts give it, written whole and never again, so that
    several processes and runs may share one folder. Parts of other presets and other weights are left alone. What was
    read stays on the disk until it is used: the rephrased questions of one data set, with the 77 words of preset
    `paper`, take gigabytes. Reading what another program cuts off a file ends the process: sizes are looked at before
    each reading, so that this is told unless it happens at that very moment.

    Args:
        encoders: preset whose `encode_text` is used.
        cache: folder that keeps what was encoded; None keeps nothing.

    Raises:
        UserError: the cache is a file, or a part of it is broken.
    """

    def __init__(self, encoders: Encoders, cache: Path | None) -> None:
        self._encoders, self._cache = encoders, cache
        self._parts: list[EncodedText] = []
        self._starts: list[int] = []
        """Row of each part's first text."""
        self._rows: dict[str, int] = {}
        self._files: dict[Path, os.stat_result] = {}
        """What is mapped, as it was then."""
        self._count = 0
        self._weights: str | None = None
        if cache is not None and cache.exists():
            self._read(cache)

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, texts: Iterable[str]) -> Tensor:
        """The rows [n] of texts that were added."""
        return torch.tensor([self._rows[text] for text in texts], dtype=torch.int64)

    def add(self, texts: Iterable[str]) -> None:
        """Encodes the texts that are new, with a progress bar, and writes them.

        Raises:
            UserError: weights are missing, or what was encoded cannot be written.
        """
        new = sorted(set(texts) - set(self._rows))
        if new and self._cache is not None:
            # Before hours of work: what is to be added must be of the weights that are in use already.
            self._check_weights(self._cache)
        with tqdm(total=len(new), desc="encode questions", unit="text", disable=len(new) < CHUNK) as bar:
            for first in range(0, len(new), SAVED):
                part, encoded = new[first : first + SAVED], list[EncodedText]()
                for start in range(0, len(part), CHUNK):
                    encoded.append(self._encoders.encode_text(part[start : start + CHUNK]))
                    bar.update(len(encoded[-1].question))
                joined = _joined(encoded, self._encoders.words_dtype)
                if self._cache is not None:
                    joined = self._written(self._cache, part, joined)
                self._append(part, joined)

    def take(self, rows: Tensor) -> EncodedText:
        """What is encoded at rows of any shape: [*rows, Dq], [*rows, L, Dw] in the preset's precision, [*rows, L].

        Raises:
            UserError: a file was cut off since it was opened.
        """
        self._check_whole()
        flat = rows.flatten()
        if len(self._parts) == 1:
            found = EncodedText(*(array[flat] for array in self._parts[0]))
        else:
            found = self._empty(len(flat), max((part.words.shape[1] for part in self._parts), default=0))
            for start, part in zip(self._starts, self._parts, strict=True):
                mine = ((flat >= start) & (flat < start + len(part.question))).nonzero().squeeze(-1)
                length, its = part.words.shape[1], flat[mine] - start
                if len(mine):
                    found.question[mine] = part.question[its]
                    found.words[mine, :length] = part.words[its]
                    found.padding_mask[mine, :length] = part.padding_mask[its]
        return EncodedText(*(array.view(*rows.shape, *array.shape[1:]) for array in found))

    def sentences(self, rows: Tensor) -> Tensor:
        """The sentence features alone, [*rows, Dq]. Raises as `take`."""
        self._check_whole()
        every = [part.question for part in self._parts] or [self._empty(0, 0).question]
        return (every[0] if len(every) == 1 else torch.cat(every))[rows]

    def _check_whole(self) -> None:
        for path, before in self._files.items():
            # Whatever has its name now: of a file that was replaced, the one that is mapped lives on.
            with suppress(FileNotFoundError):
                now = path.stat()
                if os.path.samestat(before, now) and now.st_size < before.st_size:
                    raise UserError(f"{path} was cut off while it was read; delete it and give the command again")

    def _empty(self, count: int, length: int) -> EncodedText:
        dims = self._encoders.dims
        return EncodedText(
            torch.zeros(count, dims.question),
            torch.zeros(count, length, dims.words, dtype=self._encoders.words_dtype),
            torch.ones(count, length, dtype=torch.bool),
        )

    def _append(self, texts: list[str], encoded: EncodedText) -> None:
        self._parts.append(encoded)
        self._starts.append(self._count)
        for number, text in enumerate(texts):
            # Where two processes encoded the same text, the first part has it.
            self._rows.setdefault(text, self._count + number)
        self._count += len(texts)

    def _check_weights(self, cache: Path) -> None:
        weights = self._encoders.weights_id("texts")
        if self._rows and weights != self._weights:
            raise UserError(
                f"{cache}: the questions there were encoded by other weights of preset {self._encoders.name!r} than "
                f"those at hand, which are to encode more; give the former with data.weights, or another folder with "
                f"data.questions_cache"
            )
        self._weights = weights

    def _written(self, cache: Path, texts: list[str], encoded: EncodedText) -> EncodedText:
        """The same, in the file and no longer in memory."""
        about = {"preset": self._encoders.name, "weights": self._weights, "texts": texts}
        # One field: several would be written in an order that changes from run to run.
        field = json.dumps(about)
        path = cache / f"{hashlib.sha256(field.encode()).hexdigest()[:16]}{_SUFFIX}"
        try:
            cache.mkdir(parents=True, exist_ok=True)
            sweep_temporaries(cache)
            with written_whole(path) as temporary:
                save_tensors(temporary, encoded._asdict(), {_FIELD: field})
        except OSError as error:
            raise UserError(
                f"{cache}: encoded questions cannot be written there ({error}); name a folder with data.questions_cache"
            ) from error
        return self._part(path).encoded

    def _read(self, cache: Path) -> None:
        if not cache.is_dir():
            raise UserError(f"{cache}: must be a folder of encoded questions; move the file into one, and name that")
        # Names that begin with a dot are of files that are being written, or that a killed process left.
        paths = sorted(cache.glob(f"[!.]*{_SUFFIX}"))
        parts = [self._part(path) for path in paths if self._preset(path)]
        kinds = {part.weights for part in parts}
        self._weights = next(iter(kinds), None)
        if len(kinds) > 1 or self._encoders.weights_at_hand:
            try:
                self._weights = self._encoders.weights_id("texts")
            except UserError:
                # What is encoded can be used without weights, if it is known whose it is.
                if len(kinds) > 1:
                    raise
        for part in parts:
            if part.weights == self._weights:
                self._append(part.texts, part.encoded)

    def _preset(self, path: Path) -> bool:
        return bool(_about(path)["preset"] == self._encoders.name)

    def _part(self, path: Path) -> _Part:
        about = _about(path)
        try:
            weights, texts = str(about["weights"]), list(about["texts"])
            self._files[path] = path.stat()
            with safe_open(path, framework="pt") as stored:
                encoded = EncodedText(*(stored.get_tensor(name) for name in EncodedText._fields))
        except (OSError, KeyError, TypeError, SafetensorError) as error:
            raise UserError(f"{path} is cut off, or no file of encoded questions; delete it") from error
        dims, shapes = self._encoders.dims, [tuple(array.shape) for array in encoded]
        kinds = all(array.is_floating_point() for array in encoded[:2]) and encoded.padding_mask.dtype == torch.bool
        count, length = len(texts), shapes[1][1] if len(shapes[1]) == 3 else 0
        if not kinds or shapes != [(count, dims.question), (count, length, dims.words), (count, length)]:
            raise UserError(f"{path}: arrays of shapes {shapes} are not {count} encoded questions; delete it")
        return _Part(weights, texts, encoded)


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Writes a safetensors file, for whoever may read what this process writes: of its own it is for the writer alone.

    Raises:
        OSError: it cannot be written.
    """
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    try:
        save_file(tensors, path, metadata)
        path.chmod(mode)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None


def _about(path: Path) -> dict[str, str | list[str]]:
    try:
        # Of a file that may not be read safetensors says that there is none.
        path.open("rb").close()
        with safe_open(path, framework="pt") as stored:
            about: dict[str, str | list[str]] = decoded((stored.metadata() or {})[_FIELD])
        weights, texts = about["weights"], about["texts"]
        if not (isinstance(about["preset"], str) and isinstance(weights, str | None) and isinstance(texts, list)):
            raise ValueError("fields of another kind")
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("texts that are none")
    except PermissionError as error:
        raise UserError(
            f"{path} may not be read; change its permissions, or name another folder with data.questions_cache"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(f"{path} is cut off, or no file of encoded questions; delete it") from error
    return about


def _joined(encoded: list[EncodedText], words_dtype: torch.dtype) -> EncodedText:
    """Chunks as one, their words padded to the longest."""
    length = max(chunk.words.shape[1] for chunk in encoded)
    return EncodedText(
        torch.cat([chunk.question for chunk in encoded]),
        torch.cat([_lengthened(chunk.words.to(words_dtype), length, 0.0) for chunk in encoded]),
        torch.cat([_lengthened(chunk.padding_mask, length, True) for chunk in encoded]),
    )


def _lengthened(rows: Tensor, length: int, value: float) -> Tensor:
    """Rows [n, L, ...] padded to [n, length, ...]."""
    missing = rows.new_full((rows.shape[0], length - rows.shape[1], *rows.shape[2:]), value)
    return torch.cat((rows, missing), dim=1)
