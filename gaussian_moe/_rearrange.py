"""einops' `rearrange`, as one operation of a compiled graph also before PyTorch 2.8.

There the compiler cannot look inside. einops tells it so itself, but only once it has met a tensor: a layer that was
compiled before it ever ran would be cut in pieces.
"""

from __future__ import annotations

import torch
from einops import rearrange

if torch.__version__ < "2.8":
    import einops._torch_specific  # noqa: F401  # importing it is what tells the compiler

__all__ = ["rearrange"]
