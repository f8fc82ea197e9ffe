"""The mixture of experts over time, fused or plain.

B batch, S streams, Q questions of one clip, T frames, D channels, H hidden, E experts, K experts in use, M windows
of one expert; R results of one clip, each a sum over G windows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import _autocast, _checks
from ..backend import fused, is_small
from ..kernels.expert_mix import expert_mix_reference
from ..kernels.expert_mix import op as mix_op
from ..kernels.expert_pool import ACTIVATIONS, expert_pool_factored
from ..kernels.expert_pool import op as pool_op
from ..kernels.gaussian_weights import reciprocal
from ..timeline import Clock, Timing, emptied, frame_clock, padding_from_lengths
from .profile import Profile, check_profile, regrouped
from .weights import check_window, temporal_weights, unfused_window


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
    centers: Tensor | None = None,  # like gates, or like shares
    stds: Tensor | None = None,  # like centers
    shares: Tensor | None = None,  # [B, K, M] or [B, Q, K, M]
    key_padding_mask: Tensor | None = None,  # [B, T] bool
    lengths: Tensor | None = None,  # [B] int
    times: Tensor | None = None,  # [B, T] or [T]
    duration: Tensor | float | None = None,  # [B] or one number
    window: str = "gaussian",
    normalization: str = "peak",
    activation: str = "relu",
    per_expert: bool = False,
    released_expert_order: bool = False,
    backend: str = "auto",
) -> Tensor:  # [B, D] or [B, Q, D]; [B, S, D] or [B, Q, S, D] with streams; with per_expert K behind B and Q
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
        weight1: [E, H, D], the experts' first layers.
        bias1: [E, H], their biases.
        weight2: [E, D, H], the experts' second layers.
        bias2: [E, D], their biases.
        centers: shape of `gates`, fractions of the clip; wanted, with `stds`, exactly where `weights` is None.
        stds: shape of `gates`, fractions of the clip.
        shares: [B, K, M] or [B, Q, K, M], where each expert looks through a sum of M windows; centers and stds then
            have this shape.
        key_padding_mask: [B, T] bool, True = ignore.
        lengths: [B] integers, number of valid frames at the start of each clip; instead of the mask.
        times: [B, T] or [T], when each frame was taken, in any unit; read with centers and stds only.
        duration: [B] or a number, length of each clip in the unit of `times`.
        window: as in `gaussian_weights`; weights that are given are taken as they are.
        normalization: likewise.
        activation: "relu", "gelu" or "silu"; ReLU has a kernel.
        per_expert: each expert's own `sum_t g_kt f_e(k)(x_t)` instead, without the gates.
        released_expert_order: frame t of sample b takes the experts of sample (b T + t) mod B, as the published
            code does. It makes a result depend on its batch, and exists on the torch path, without padding.
        backend: "auto", "triton" or "torch". Fused operators have no double backward; "torch" has.

    Returns:
        [B, D] or [B, Q, D], with streams [B, S, D] or [B, Q, S, D], in the dtype of the experts. With `per_expert`
        an axis K stands behind B and Q: [B, K, D] to [B, Q, K, S, D].

    Raises:
        ValueError: a wrong shape or dtype, an unknown name, or a request that cannot be met.

    Examples:
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
    check_profile(frames, gates, indices, weights, centers, stds, shares)
    check_window(window, normalization)
    check_activation(activation)
    padded = key_padding_mask is not None or lengths is not None
    if released_expert_order and (gates.dim() == 3 or padded or per_expert):
        raise ValueError("released_expert_order is defined for the mixture of one question a clip, without padding")
    streams = frames if frames.dim() == 4 else frames.unsqueeze(1)
    profile = regrouped(gates, indices, weights, centers, stds, shares, per_expert)
    bank = (weight1, bias1, weight2, bias2)
    dtype, T = _compute_dtype(frames), frames.shape[-2]
    obstacle = unfused_experts(activation, released_expert_order)
    if weights is None:
        obstacle = obstacle or unfused_window(window, normalization, times)
    multiplications = profile.indices.numel() * streams.shape[1] * T * weight1.shape[1] * weight1.shape[2]
    # One frame has nothing to fuse.
    small = T == 1 or is_small(multiplications, T, _needs_grad(frames, *profile, *bank))
    if fused(backend, frames.device, dtype, obstacle, prefer_torch_on_cpu=frames.device.type == "cpu" and small):
        wide = torch.promote_types(dtype, torch.float32)
        clock = frame_clock(streams[:, 0], key_padding_mask, lengths, times, duration, wide)
        first = streams.to(dtype), weight1.to(dtype), bias1.to(dtype)
        state, mass = _pooled_states(*first, profile, clock)
        counts = profile.gates
        if weights is None and normalization == "sum":
            counts = counts * reciprocal(mass)
        pooled = _mixed(state, mass, counts, profile.indices, weight2, bias2)
    else:
        padding = padding_from_lengths(streams[:, 0], key_padding_mask, lengths)
        seen = profile.weights
        if seen is None:
            assert profile.centers is not None
            assert profile.stds is not None
            windows = profile.centers.flatten(1), profile.stds.flatten(1)
            timing = Timing(padding, None, times, duration)
            seen = temporal_weights(*windows, streams[:, 0], timing, window, normalization, "torch")
            seen = seen.view(*profile.gates.shape, T)
        if padding is not None:
            seen = seen.masked_fill(padding[:, None, None], 0.0)
            streams = emptied(streams, padding.unsqueeze(1))
        pooled = expert_pool_factored(
            streams, profile.gates, profile.indices, seen, *bank, released_expert_order, activation
        )
    # Of [B, Q, K, S, D], the axes that were asked for.
    asked = [*(gates.shape if per_expert else gates.shape[:-1]), *frames.shape[1:-2]]
    return pooled.reshape(*asked, pooled.shape[-1])


def check_activation(activation: str) -> None:
    """Raises ValueError for a name that is no activation."""
    _checks.one_of(tuple(ACTIVATIONS), activation=activation)


def unfused_experts(activation: str, released_expert_order: bool) -> str | None:
    """Why these experts have no fused path, if they have none."""
    if released_expert_order:
        return "released_expert_order exists for the torch path only"
    return None if activation == "relu" else f"activation={activation!r} has no fused kernel, only 'relu' has"


def _pooled_states(
    frames: Tensor,  # [B, S, T, D]
    weight1: Tensor,  # [E, H, D]
    bias1: Tensor,  # [E, H]
    profile: Profile,
    clock: Clock,
) -> tuple[Tensor, Tensor]:  # [B, S, R, G, H], [B, R, G] wide
    """The fused operator on all windows of a clip at once."""
    wide = torch.promote_types(frames.dtype, torch.float32)
    # From [B, R, G, ...] to [B, R G, ...].
    seen = [None if x is None else x.to(wide).flatten(1, 2) for x in profile[2:]]
    inputs = (frames, weight1, bias1, profile.indices.flatten(1), *seen, *clock)
    pool_op.count_flops()
    state, mass, _ = pool_op.expert_pool(*inputs, pool_op.reach_threshold(frames.dtype), _needs_grad(*inputs))
    return state.unflatten(2, profile.indices.shape[1:]), mass.view(profile.indices.shape)


def _mixed(
    state: Tensor,  # [B, S, R, G, H]
    mass: Tensor,  # [B, R, G]
    gates: Tensor,  # [B, R, G]
    indices: Tensor,  # [B, R, G]
    weight2: Tensor,  # [E, D, H]
    bias2: Tensor,  # [E, D]
) -> Tensor:  # [B, R, S, D]
    if state.device.type != "cpu":
        return expert_mix_reference(state, mass, gates, indices, weight2, bias2)
    mix_op.count_flops()
    bank = weight2.to(state.dtype), bias2.to(state.dtype)
    mixed: Tensor = mix_op.expert_mix(state, mass, gates.to(mass.dtype), indices, *bank)
    return mixed


def _needs_grad(*inputs: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs)


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
