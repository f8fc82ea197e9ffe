"""A mask in one bit an element, and back, on a CPU.

R rows, H hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor

_GATHER = 0x0102040810204080
"""Times eight bytes of 0 or 1, it brings bit j of the last byte from byte j."""


def words(hidden: int) -> int:
    """32-bit words that hold a mask of that many elements."""
    return (hidden + 31) // 32


def pack(
    positive: Tensor,  # [R, H] bool
) -> Tensor:  # [R, 4 words] uint8, element 8i + j in bit j of byte i
    """Eight elements a byte, the last word filled with 0."""
    R, H = positive.shape
    if H % 32:
        positive = torch.nn.functional.pad(positive, (0, 32 * words(H) - H))
    eight = positive.contiguous().view(torch.int64)
    return ((eight * _GATHER) >> 56).to(torch.uint8).view(R, 4 * words(H))


def unpack(
    packed: Tensor,  # [R, 4 words] uint8
    hidden: int,
    dtype: torch.dtype,
) -> Tensor:  # [R, H] of 0 and 1
    """The mask as numbers, from a table of what each byte holds."""
    table = ((torch.arange(256).unsqueeze(-1) >> torch.arange(8)) & 1).to(dtype)
    mask = table.index_select(0, packed.flatten().int()).view(packed.shape[0], -1)
    return mask if mask.shape[1] == hidden else mask[:, :hidden]
