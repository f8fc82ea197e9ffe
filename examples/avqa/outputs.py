"""What every model of the example returns. B batch, Q questions of one clip, A answers."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from gaussian_moe import Routing


class AVQAOutput(NamedTuple):
    """What a model says, and where each of its mixtures looked."""

    logits: Tensor
    """[B, A], or [B, Q, A] with a question axis."""
    audio_routing: Routing | None
    """[B, ...], or [B * Q, ...] with a question axis; None for a model without experts."""
    visual_routing: Routing | None
