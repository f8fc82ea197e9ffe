"""The stateless operations under the layers; the layers call nothing else.

B batch, Q questions of one clip, T frames, D channels, H hidden, E experts, K experts in use.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import _checks
from .backend import resolve_backend
from .kernels.expert_pool import expert_pool_factored
from .kernels.gaussian_weights import gaussian_weights_reference
from .timeline import frame_times, padding_from_lengths

__all__ = ["gaussian_expert_pool", "gaussian_weights"]


def gaussian_weights(
    centers: Tensor,  # [B, K] or [B, Q, K]
    stds: Tensor,  # like centers
    frames: Tensor,  # [B, T, ...]
    *,
    key_padding_mask: Tensor | None = None,  # [B, T] bool
    lengths: Tensor | None = None,  # [B] int
    times: Tensor | None = None,  # [B, T] or [T]
    duration: Tensor | float | None = None,  # [B] or one number
    backend: str = "auto",
) -> Tensor:  # [B, K, T] or [B, Q, K, T]
    """One Gaussian over time for each center, scaled so that the frame nearest to the center has weight 1.

    `g_t = exp(l_t - max_j l_j)`, `l_t = -(t - center)^2 / (2 std^2)`; padded frames have weight 0. It is the
    published density over its largest sampled value wherever that is finite (QA-TIGER, arXiv 2503.04459,
    section 3.3), and never 0/0.

    Args:
        centers: [B, K] or [B, Q, K], fraction of the clip's duration.
        stds: same shape, fraction of the clip's duration, above 0.
        frames: [B, T, ...], read for its sizes, dtype and device only.
        key_padding_mask: [B, T] bool, True = ignore.
        lengths: [B] integers, number of valid frames at the start of each clip; instead of the mask.
        times: [B, T] or [T], when each frame was taken, in any unit; evenly spaced where not given.
        duration: [B] or a number, length of each clip in the unit of `times`.
        backend: "auto", "triton" or "torch".

    Returns:
        [B, K, T] or [B, Q, K, T], float32 or wider. A clip with no valid frame has weights 0.

    Raises:
        ValueError: a wrong shape or dtype, or a backend that is not there.

    Example:
        >>> import torch
        >>> from gaussian_moe.functional import gaussian_weights
        >>> g = gaussian_weights(torch.tensor([[0.5]]), torch.tensor([[0.1]]), torch.zeros(1, 5, 8))
        >>> [round(value, 3) for value in g[0, 0].tolist()]
        [0.0, 0.044, 1.0, 0.044, 0.0]
    """
    resolve_backend(backend)
    if frames.dim() < 2:
        raise ValueError(f"frames must have shape [B, T, ...], got {list(frames.shape)}")
    if centers.dim() not in (2, 3) or centers.shape[0] != frames.shape[0]:
        raise ValueError(
            f"centers must have shape [{frames.shape[0]}, K] or [{frames.shape[0]}, Q, K], got {list(centers.shape)}"
        )
    _checks.shape("stds", stds, list(centers.shape))
    padding = padding_from_lengths(frames, key_padding_mask, lengths)
    place = frame_times(frames, padding, times, duration)
    wide = torch.promote_types(torch.promote_types(centers.dtype, torch.float32), place.dtype)
    centers, stds, place = centers.to(wide), stds.to(wide), place.to(wide)
    if centers.dim() == 2:
        return gaussian_weights_reference(centers, stds, place, padding)
    place = place.unsqueeze(-2)
    return gaussian_weights_reference(centers, stds, place, None if padding is None else padding.unsqueeze(-2))


def gaussian_expert_pool(
    frames: Tensor,  # [B, T, D]
    gates: Tensor,  # [B, K] or [B, Q, K]
    indices: Tensor,  # like gates, int64
    weights: Tensor,  # [B, K, T] or [B, Q, K, T]
    weight1: Tensor,  # [E, H, D]
    bias1: Tensor,  # [E, H]
    weight2: Tensor,  # [E, D, H]
    bias2: Tensor,  # [E, D]
    *,
    released_expert_order: bool = False,
    backend: str = "auto",
) -> Tensor:  # [B, D] or [B, Q, D]
    """The mixture `y = sum_k p_k sum_t g_kt f_e(k)(x_t)` with `f_e(x) = W2_e relu(W1_e x + b1_e) + b2_e`.

    QA-TIGER (arXiv 2503.04459), section 3.3. The sum over time is not normalised.

    Args:
        frames: [B, T, D].
        gates: [B, K] or [B, Q, K], weight of each expert in use.
        indices: same shape, int64, which expert that is.
        weights: [B, K, T] or [B, Q, K, T], weight of each frame for each expert in use; 0 for padding.
        weight1, bias1, weight2, bias2: the bank of experts, [E, H, D], [E, H], [E, D, H], [E, D].
        released_expert_order: frame t of sample b takes the experts of sample (b T + t) mod B, as the published
            code does. It makes a result depend on its batch.
        backend: "auto", "triton" or "torch".

    Returns:
        [B, D] or [B, Q, D], in the dtype of the experts.

    Raises:
        ValueError: a wrong shape or dtype, or a request that cannot be met.

    Example:
        >>> import torch
        >>> from gaussian_moe.functional import gaussian_expert_pool
        >>> frames, gates, weights = torch.randn(2, 60, 8), torch.full((2, 1), 1.0), torch.ones(2, 1, 60)
        >>> bank = torch.randn(3, 4, 8), torch.zeros(3, 4), torch.randn(3, 8, 4), torch.zeros(3, 8)
        >>> gaussian_expert_pool(frames, gates, torch.tensor([[2], [0]]), weights, *bank).shape
        torch.Size([2, 8])
    """
    resolve_backend(backend)
    _checks.shape("weight1", weight1, ["E", "H", "D"])
    E, H, _ = weight1.shape
    _checks.channels("frames", frames, ["B", "T"], weight1)
    _checks.shape("bias1", bias1, [E, H])
    _checks.shape("weight2", weight2, [E, "D", H])
    _checks.shape("bias2", bias2, [E, weight2.shape[1]])
    if gates.dim() not in (2, 3) or gates.shape[0] != frames.shape[0]:
        raise ValueError(f"gates must have shape [{frames.shape[0]}, (Q,) K], got {list(gates.shape)}")
    _checks.shape("indices", indices, list(gates.shape))
    if indices.dtype != torch.int64:
        raise ValueError(f"indices must be int64, got {indices.dtype}; call indices.long()")
    _checks.shape("weights", weights, [*gates.shape, frames.shape[1]])
    if released_expert_order and gates.dim() == 3:
        raise ValueError("released_expert_order is defined for one question a clip; gates have a question axis")
    bank = (weight1, bias1, weight2, bias2)
    if gates.dim() == 3:
        return expert_pool_factored(frames, gates, indices, weights, *bank)
    pooled = expert_pool_factored(
        frames,
        gates.unsqueeze(1),
        indices.unsqueeze(1),
        weights.unsqueeze(1),
        *bank,
        released_order=released_expert_order,
    )
    return pooled.squeeze(1)
