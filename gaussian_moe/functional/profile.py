"""Which experts look at a clip when, regrouped into what is summed.

B batch, Q questions of one clip, T frames, K experts in use, M windows of one expert; R results of one clip, each a
sum over G windows.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from .. import _checks


class Profile(NamedTuple):
    """The windows of every result. A mixture is one result for each question, of all its experts' windows."""

    gates: Tensor
    """[B, R, G], what each window counts."""
    indices: Tensor
    """[B, R, G] int64, whose window it is."""
    weights: Tensor | None
    """[B, R, G, T], what each frame counts; or else"""
    centers: Tensor | None
    """[B, R, G]"""
    stds: Tensor | None
    """[B, R, G]"""


def regrouped(
    gates: Tensor,  # [B, K] or [B, Q, K]
    indices: Tensor,  # like gates
    weights: Tensor | None,  # [B, (Q,) K, T]
    centers: Tensor | None,  # like gates, or like shares
    stds: Tensor | None,  # like centers
    shares: Tensor | None,  # [B, (Q,) K, M]
    per_expert: bool,
) -> Profile:
    """R = Q and G = K M, or with `per_expert` R = Q K and G = M, where the gates do not count."""
    B, K = gates.shape[0], gates.shape[-1]
    Q = gates.shape[1] if gates.dim() == 3 else 1
    M = 1 if shares is None else shares.shape[-1]
    shape = (B, Q * K, M) if per_expert else (B, Q, K * M)
    counts = gates.new_ones(gates.shape) if per_expert else gates
    if shares is not None:
        counts = counts.unsqueeze(-1) * shares
        indices = indices.unsqueeze(-1).expand(shares.shape)
    return Profile(
        counts.reshape(shape),
        indices.reshape(shape),
        None if weights is None else weights.reshape(*shape, weights.shape[-1]),
        None if centers is None else centers.reshape(shape),
        None if stds is None else stds.reshape(shape),
    )


def check_profile(
    frames: Tensor,  # [B, (S,) T, D]
    gates: Tensor,
    indices: Tensor,
    weights: Tensor | None,
    centers: Tensor | None,
    stds: Tensor | None,
    shares: Tensor | None,
) -> None:
    """The arguments of `gaussian_expert_pool` fit each other; a ValueError says which does not."""
    if gates.dim() not in (2, 3) or gates.shape[0] != frames.shape[0]:
        raise ValueError(f"gates must have shape [{frames.shape[0]}, (Q,) K], got {list(gates.shape)}")
    _checks.shape("indices", indices, list(gates.shape))
    _checks.int64("indices", indices)
    if weights is not None:
        if centers is not None or stds is not None or shares is not None:
            raise ValueError("weights, and centers and stds, say the same thing; give one of them")
        _checks.shape("weights", weights, [*gates.shape, frames.shape[-2]])
        return
    if centers is None or stds is None:
        raise ValueError("where weights is None, centers and stds are wanted")
    shape = list(gates.shape)
    if shares is not None:
        _checks.shape("shares", shares, [*gates.shape, "M"])
        shape = list(shares.shape)
    _checks.shape("centers", centers, shape)
    _checks.shape("stds", stds, shape)
