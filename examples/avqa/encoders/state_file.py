"""Reads a file of weights by name: safetensors, or what torch saved, of which nothing but numbers is read."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import UserError


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
        state = _torch_state(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise UserError(f"{path} is cut off, or no safetensors file ({error}); download it again") from error
    except Exception as error:  # the unpickler's errors are of many kinds
        raise UserError(f"{path} holds no weights: {' '.join(str(error).split())}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path} holds no state dict but {type(state).__name__}")
    return state


def _torch_state(path: Path) -> object:
    try:
        loaded: object = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:
        # Files from before torch 1.6 are no archives, and cannot be mapped.
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    return loaded
