"""Reads a file of weights by name: safetensors, or what torch saved, of which nothing but numbers is read."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import UserError
from ..torch_file import load_plain


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU; they are read from the disk when they are first used.

    Args:
        path: a .safetensors file, or one of torch (.pth, .pt, .bin).

    Raises:
        UserError: the file cannot be read, or holds no tensors by name.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Gigabytes, of which most are read later, if at all.
        state = load_plain(path, mmap=True, checksums=False)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise UserError(f"{path} is cut off, or no safetensors file ({error}); download it again") from error
    except ValueError as error:
        raise UserError(f"{path} holds no weights: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path} holds no state dict but {type(state).__name__}")
    if odd := [name for name in state if not isinstance(name, str)]:
        raise UserError(f"{path} holds no state dict: {odd[0]!r:.80} names a tensor")
    return state
