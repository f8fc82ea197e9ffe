"""Expert pooling of short clips as one plain product over all experts, on a CPU.

What the product wastes on experts and frames that do not count is less than the many small products would cost. The
hidden layer is computed again in the backward pass.

N clips and streams, G routed experts of one clip, T frames, D channels, H hidden, E experts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..product import product


def forward(
    frames: Tensor,  # [N, T, D], padding 0
    weight1: Tensor,  # [E, H, D]
    bias1: Tensor,  # [E, H]
    indices: Tensor,  # [N, G] int64
    weights: Tensor,  # [N, G, T] wide
) -> Tensor:  # [N, G, H] wide
    """Every Gaussian over every expert's hidden layer, of which each takes its own expert's."""
    E, H, _ = weight1.shape
    over_all = torch.bmm(weights, _hidden(frames, weight1, bias1).to(weights.dtype))  # [N, G, E H]
    return over_all.view(*indices.shape, E, H).gather(2, _own(indices, H)).squeeze(2)


def backward(
    grad_state: Tensor,  # [N, G, H]
    frames: Tensor,  # [N, T, D], padding 0
    weight1: Tensor,  # [E, H, D]
    bias1: Tensor,  # [E, H]
    indices: Tensor,  # [N, G] int64
    weights: Tensor,  # [N, G, T] wide
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of frames [N, T, D], W1, b1 and weights [N, G, T], all wide."""
    N, T, D = frames.shape
    E, H, _ = weight1.shape
    wide = weights.dtype
    hidden = _hidden(frames, weight1, bias1).to(wide)
    upstream = weights.new_zeros(N, indices.shape[1], E, H)
    upstream.scatter_(2, _own(indices, H), grad_state.to(wide).unsqueeze(2))
    upstream = upstream.flatten(2)  # [N, G, E H]
    dweights = torch.bmm(upstream, hidden.transpose(1, 2))
    passed = torch.bmm(weights.transpose(1, 2), upstream).mul_(hidden > 0).view(N * T, E * H).to(frames.dtype)
    flat = weight1.reshape(E * H, D)
    dframes = product(passed, flat.t()).view(N, T, D)
    dweight1 = product(passed.t(), frames.reshape(N * T, D).t()).view(E, H, D)
    return dframes.to(wide), dweight1.to(wide), passed.sum(0, dtype=wide).view(E, H), dweights


def _hidden(frames: Tensor, weight1: Tensor, bias1: Tensor) -> Tensor:
    """[N, T, E H]"""
    N, T, D = frames.shape
    hidden = product(frames.reshape(N * T, D), weight1.reshape(-1, D), bias1.reshape(-1), relu=True)
    return hidden.view(N, T, bias1.numel())


def _own(indices: Tensor, hidden: int) -> Tensor:
    """Where each routed expert stands among all, for gather and scatter: [N, G, 1, H]"""
    return indices[..., None, None].expand(*indices.shape, 1, hidden)
