""".npy files that may come from anyone: mapped, never unpickled, never larger than the file itself."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

_MOST_AXES = 8


def mapped_array(path: Path) -> npt.NDArray[Any]:
    """The array of a file, memory-mapped; its header is compared with the file's size before anything is mapped.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is no array, or not whole.
    """
    with path.open("rb") as file:
        shape, fortran, dtype = _header(file)
        start = file.tell()
        there = path.stat().st_size - start
    if dtype.hasobject or dtype.names is not None or dtype.subdtype is not None or not dtype.itemsize:
        raise ValueError(f"dtype {' '.join(str(dtype)[:80].split())}")
    if len(shape) > _MOST_AXES or any(type(size) is not int or not 0 <= size < 2**63 for size in shape):
        raise ValueError("a shape that no array has")
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > there:
        raise ValueError(f"{there} bytes of numbers where {list(shape)} of {dtype} has {wanted}")
    order: Any = "F" if fortran else "C"
    if not wanted:
        # There is nothing to be mapped.
        return np.empty(shape, dtype, order)
    return np.memmap(path, dtype, "r", start, shape, order)


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and dtype; the file stands at its numbers then."""
    try:
        with warnings.catch_warnings():
            # Of headers that Python 2 wrote.
            warnings.simplefilter("ignore")
            version = np.lib.format.read_magic(file)
            readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            if version not in readers:
                raise ValueError(f"version {version[0]}.{version[1]} of the format, known are 1.0 and 2.0")
            return readers[version](file)
    except OSError:
        raise
    except Exception as error:  # of many kinds: the header is an expression of Python, and dtypes are anything
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(said) from None
