"""The stateless operations under the layers; the layers call nothing else.

B batch, S streams, Q questions of one clip, T frames, D channels, H hidden, E experts, K experts in use;
of a linear map M rows, N output channels, P input channels.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor
from torch.nn import functional as F

from . import _autocast, _checks
from .backend import SMALL_LINEAR, VARIABLE, fused, is_small, surely_below
from .kernels.expert_mix import expert_mix_reference
from .kernels.expert_mix import op as mix_op
from .kernels.expert_pool import expert_pool_factored
from .kernels.expert_pool import op as pool_op
from .kernels.gaussian_weights import gaussian_weights_reference
from .kernels.gaussian_weights import op as weights_op
from .kernels.linear import op as linear_op
from .kernels.product import ONEDNN
from .timeline import Clock, emptied, frame_clock, frame_times, padding_from_lengths

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
        times: [B, T] or [T], when each frame was taken, in any unit; evenly spaced where not given. (A gradient for
            them exists on the torch path, which is taken where they require one.)
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
    if frames.dim() < 2:
        raise ValueError(f"frames must have shape [B, T, ...], got {list(frames.shape)}")
    B, T = frames.shape[:2]
    if centers.dim() not in (2, 3) or centers.shape[0] != B:
        raise ValueError(f"centers must have shape [{B}, K] or [{B}, Q, K], got {list(centers.shape)}")
    _checks.shape("stds", stds, list(centers.shape))
    wide = torch.promote_types(torch.promote_types(centers.dtype, torch.float32), frames.dtype)
    if fused(backend, frames.device, wide, _unfused(times)):
        clock = frame_clock(frames, key_padding_mask, lengths, times, duration, wide)
        flat = (centers.to(wide).flatten(1), stds.to(wide).flatten(1))
        weights: Tensor = weights_op.gaussian_weights(*flat, *clock, T)
        return weights.view(*centers.shape, T)
    padding = padding_from_lengths(frames, key_padding_mask, lengths)
    place = frame_times(frames, padding, times, duration)
    wide = torch.promote_types(wide, place.dtype)
    centers, stds, place = centers.to(wide), stds.to(wide), place.to(wide)
    if centers.dim() == 2:
        return gaussian_weights_reference(centers, stds, place, padding)
    place = place.unsqueeze(-2)
    return gaussian_weights_reference(centers, stds, place, None if padding is None else padding.unsqueeze(-2))


def gaussian_expert_pool(
    frames: Tensor,  # [B, T, D] or [B, S, T, D]
    gates: Tensor,  # [B, K] or [B, Q, K]
    indices: Tensor,  # like gates, int64
    weights: Tensor | None,  # [B, K, T] or [B, Q, K, T]
    weight1: Tensor,  # [E, H, D]
    bias1: Tensor,  # [E, H]
    weight2: Tensor,  # [E, D, H]
    bias2: Tensor,  # [E, D]
    *,
    centers: Tensor | None = None,  # like gates
    stds: Tensor | None = None,  # like gates
    key_padding_mask: Tensor | None = None,  # [B, T] bool
    lengths: Tensor | None = None,  # [B] int
    times: Tensor | None = None,  # [B, T] or [T]
    duration: Tensor | float | None = None,  # [B] or one number
    released_expert_order: bool = False,
    backend: str = "auto",
) -> Tensor:  # [B, D] or [B, Q, D]; [B, S, D] or [B, Q, S, D] with streams
    """The mixture `y = sum_k p_k sum_t g_kt f_e(k)(x_t)` with `f_e(x) = W2_e relu(W1_e x + b1_e) + b2_e`.

    QA-TIGER (arXiv 2503.04459), section 3.3. The sum over time is not normalised. The weights g are given, or follow
    from centers and stds as in `gaussian_weights`; then the fused path never stores them, and skips frames that
    weigh less than the dtype can show (1e-8 in float32, 1e-4 in half precision, none in float64).

    Args:
        frames: [B, T, D], or [B, S, T, D] for S streams under the same routing. What padded frames hold does not
            matter.
        gates: [B, K] or [B, Q, K], weight of each expert in use.
        indices: same shape, int64, which expert that is.
        weights: [B, K, T] or [B, Q, K, T], weight of each frame for each expert in use; or None.
        weight1, bias1, weight2, bias2: the bank of experts, [E, H, D], [E, H], [E, D, H], [E, D].
        centers, stds: shape of `gates`, fractions of the clip; wanted exactly where `weights` is None.
        key_padding_mask: [B, T] bool, True = ignore.
        lengths: [B] integers, number of valid frames at the start of each clip; instead of the mask.
        times: [B, T] or [T], when each frame was taken, in any unit; read with centers and stds only.
        duration: [B] or a number, length of each clip in the unit of `times`.
        released_expert_order: frame t of sample b takes the experts of sample (b T + t) mod B, as the published
            code does. It makes a result depend on its batch, and exists on the torch path, without padding.
        backend: "auto", "triton" or "torch". Fused operators have no double backward; "torch" has.

    Returns:
        [B, D] or [B, Q, D], with streams [B, S, D] or [B, Q, S, D], in the dtype of the experts.

    Raises:
        ValueError: a wrong shape or dtype, or a request that cannot be met.

    Example:
        >>> import torch
        >>> from gaussian_moe.functional import gaussian_expert_pool
        >>> frames, gates, indices = torch.randn(2, 60, 8), torch.ones(2, 1), torch.tensor([[2], [0]])
        >>> bank = torch.randn(3, 4, 8), torch.zeros(3, 4), torch.randn(3, 8, 4), torch.zeros(3, 8)
        >>> gaussian_expert_pool(frames, gates, indices, torch.ones(2, 1, 60), *bank).shape
        torch.Size([2, 8])
        >>> center, std = torch.full((2, 1), 0.5), torch.full((2, 1), 0.1)
        >>> gaussian_expert_pool(frames, gates, indices, None, *bank, centers=center, stds=std).shape
        torch.Size([2, 8])
    """
    _check_bank(frames, weight1, bias1, weight2, bias2)
    _check_profile(frames, gates, indices, weights, centers, stds)
    if released_expert_order and (gates.dim() == 3 or key_padding_mask is not None or lengths is not None):
        raise ValueError("released_expert_order is defined for one question a clip and without padding")
    B, T = frames.shape[0], frames.shape[-2]
    streams = frames if frames.dim() == 4 else frames.unsqueeze(1)
    shape = gates.shape if gates.dim() == 3 else (B, 1, gates.shape[1])  # [B, Q, K]
    dtype = _compute_dtype(frames)
    unfused = "released_expert_order exists on the torch path only" if released_expert_order else _unfused(times)
    multiplications = indices.numel() * streams.shape[1] * T * weight1.shape[1] * weight1.shape[2]
    needs_grad = _needs_grad(frames, gates, weights, centers, stds, weight1, bias1, weight2, bias2)
    # One frame has nothing to fuse.
    plain = frames.device.type == "cpu" and (T == 1 or is_small(multiplications, T, needs_grad))
    if fused(backend, frames.device, dtype, unfused, prefer_torch_on_cpu=plain):
        clock = frame_clock(
            streams[:, 0], key_padding_mask, lengths, times, duration, torch.promote_types(dtype, torch.float32)
        )
        first = streams.to(dtype), weight1.to(dtype), bias1.to(dtype)
        state, mass = _pooled_states(*first, indices, weights, centers, stds, clock)
        state, mass = state.view(B, streams.shape[1], *shape[1:], weight1.shape[1]), mass.view(shape)
        pooled = _mixed(state, mass, gates.view(shape), indices.view(shape), weight2, bias2)
    else:
        padding = padding_from_lengths(streams[:, 0], key_padding_mask, lengths)
        if weights is None:
            assert centers is not None
            assert stds is not None
            weights = gaussian_weights(
                centers, stds, streams[:, 0], key_padding_mask=padding, times=times, duration=duration, backend="torch"
            )
        weights = weights.view(*shape, T)
        if padding is not None:
            weights = weights.masked_fill(padding[:, None, None], 0.0)
            streams = emptied(streams, padding.unsqueeze(1))
        bank = (weight1, bias1, weight2, bias2)
        pooled = expert_pool_factored(
            streams, gates.view(shape), indices.view(shape), weights, *bank, released_order=released_expert_order
        )
    # [B, Q, S, D]: an axis that was not asked for is 1 long.
    pooled = pooled if frames.dim() == 4 else pooled.squeeze(2)
    return pooled if gates.dim() == 3 else pooled.squeeze(1)


def linear(
    x: Tensor,  # [..., P]
    weight: Tensor,  # [N, P]
    bias: Tensor | None = None,  # [N]
    *,
    backend: str = "auto",
) -> Tensor:  # [..., N]
    """`x W^T + b`, as `F.linear`.

    Large products of float32 on a CPU go to oneDNN, whichever library PyTorch asks there; that is not so while
    exporting, under autocast, and where the environment's GAUSSIAN_MOE_BACKEND is "torch".

    Args:
        x: [..., P].
        weight: [N, P].
        bias: [N].
        backend: "auto", or "torch" for `F.linear` everywhere.

    Example:
        >>> import torch
        >>> from gaussian_moe.functional import linear
        >>> linear(torch.randn(2, 60, 768), torch.randn(512, 768)).shape
        torch.Size([2, 60, 512])
    """
    if backend == "torch" or not _by_operator(x, weight, bias):
        return F.linear(x, weight, bias)
    linear_op.count_flops()
    flat: Tensor = linear_op.linear(x.reshape(-1, x.shape[-1]), weight, bias)
    return flat.view(*x.shape[:-1], weight.shape[0])


def _pooled_states(
    frames: Tensor,  # [B, S, T, D]
    weight1: Tensor,  # [E, H, D]
    bias1: Tensor,  # [E, H]
    indices: Tensor,  # [B, K] or [B, Q, K]
    weights: Tensor | None,  # [B, K, T] or [B, Q, K, T]
    centers: Tensor | None,  # like indices
    stds: Tensor | None,  # like indices
    clock: Clock,
) -> tuple[Tensor, Tensor]:  # [B, S, Q K, H], [B, Q K]
    """The fused operator on every question's experts at once."""
    wide = torch.promote_types(frames.dtype, torch.float32)
    # From [B, (Q,) K, ...] to [B, Q K, ...].
    profile = [None if x is None else x.to(wide).flatten(1, indices.dim() - 1) for x in (weights, centers, stds)]
    inputs = (frames, weight1, bias1, indices.flatten(1), *profile, *clock)
    pool_op.count_flops()
    state, mass, _ = pool_op.expert_pool(*inputs, pool_op.reach_threshold(frames.dtype), _needs_grad(*inputs))
    return state, mass


def _mixed(
    state: Tensor,  # [B, S, Q, K, H]
    mass: Tensor,  # [B, Q, K]
    gates: Tensor,  # [B, Q, K]
    indices: Tensor,  # [B, Q, K]
    weight2: Tensor,  # [E, D, H]
    bias2: Tensor,  # [E, D]
) -> Tensor:  # [B, Q, S, D]
    if state.device.type != "cpu":
        return expert_mix_reference(state, mass, gates, indices, weight2, bias2)
    mix_op.count_flops()
    bank = weight2.to(state.dtype), bias2.to(state.dtype)
    mixed: Tensor = mix_op.expert_mix(state, mass, gates.to(mass.dtype), indices, *bank)
    return mixed


def _by_operator(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    if x.device.type != "cpu" or not ONEDNN or os.environ.get(VARIABLE) == "torch":
        return False
    if any(tensor is not None and tensor.dtype != torch.float32 for tensor in (x, weight, bias)):
        return False
    if torch.is_autocast_enabled("cpu") or torch.compiler.is_exporting():
        return False
    return not surely_below(x.numel() * weight.shape[0], SMALL_LINEAR)


def _needs_grad(*inputs: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs)


def _unfused(times: Tensor | None) -> str | None:
    """Why these times have no fused path, if they have none."""
    if times is not None and times.requires_grad:
        return "the kernels give times no gradient, and these require one"
    return None


def _compute_dtype(frames: Tensor) -> torch.dtype:
    """What the experts compute in: autocast's dtype where it is on and casts the frames', or else the frames'."""
    device = frames.device.type
    if _autocast.is_on(device) and frames.dtype != torch.float64:
        return torch.get_autocast_dtype(device)
    return frames.dtype


def _check_bank(frames: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor) -> None:
    _checks.shape("weight1", weight1, ["E", "H", "D"])
    E, H, _ = weight1.shape
    _checks.channels("frames", frames, ["B", "S", "T"] if frames.dim() == 4 else ["B", "T"], weight1)
    _checks.shape("bias1", bias1, [E, H])
    _checks.shape("weight2", weight2, [E, "D", H])
    _checks.shape("bias2", bias2, [E, weight2.shape[1]])


def _check_profile(
    frames: Tensor,
    gates: Tensor,
    indices: Tensor,
    weights: Tensor | None,
    centers: Tensor | None,
    stds: Tensor | None,
) -> None:
    if gates.dim() not in (2, 3) or gates.shape[0] != frames.shape[0]:
        raise ValueError(f"gates must have shape [{frames.shape[0]}, (Q,) K], got {list(gates.shape)}")
    _checks.shape("indices", indices, list(gates.shape))
    if indices.dtype != torch.int64:
        raise ValueError(f"indices must be int64, got {indices.dtype}; call indices.long()")
    if weights is not None:
        if centers is not None or stds is not None:
            raise ValueError("weights, and centers and stds, say the same thing; give one of them")
        _checks.shape("weights", weights, [*gates.shape, frames.shape[-2]])
        return
    if centers is None or stds is None:
        raise ValueError("where weights is None, centers and stds are wanted")
    _checks.shape("centers", centers, list(gates.shape))
    _checks.shape("stds", stds, list(gates.shape))
