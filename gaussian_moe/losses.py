"""Losses that keep a router in shape: added to a model's own, weighted, where they are wanted.

Each is a mean over the questions that count: padded ones do not, nor do those about a clip with no frames. Where none
is left it is 0.

B batch (or B, Q: clips and their questions), T frames, E experts, K experts in use.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import _autocast
from ._counted import by_expert, counted, mean, wide_logits
from .routing import Routing, check_routing

__all__ = ["gaussian_diversity_loss", "importance_loss", "load_balance_loss", "router_z_loss"]


def load_balance_loss(
    routing: Routing,
    *,
    question_padding_mask: Tensor | None = None,  # [B] or [B, Q] bool
    key_padding_mask: Tensor | None = None,  # [B, T] bool
    lengths: Tensor | None = None,  # [B] int
) -> Tensor:
    """Evens out how often each of the experts is in use: `E sum_e f_e P_e`, 1 where all are used alike.

    f_e is expert e's share of the K slots of all questions, P_e the mean of softmax(logits)_e, which alone takes a
    gradient. Switch Transformers (Fedus et al., JMLR 2022, arXiv 2101.03961), equations 4 to 6, without their factor
    (0.01 there) and for K experts in place of one. With K = E every expert is always in use and the loss is 1,
    whatever the gates: then take `importance_loss`.

    Args:
        routing: what a layer returned; [B, K] or [B, Q, K].
        question_padding_mask: bool in the shape of the questions, True = ignore.
        key_padding_mask: [B, T] bool, as the layer was given; only clips without any frame matter.
        lengths: [B] integers, instead of that mask.

    Returns:
        One number, float32 or wider.

    Raises:
        ValueError: a wrong shape or dtype.

    Examples:
        >>> import torch
        >>> from gaussian_moe import Routing, load_balance_loss
        >>> gate, experts = torch.ones(4, 1), torch.tensor([[0], [1], [2], [3]])
        >>> load_balance_loss(Routing(gate, experts, gate / 2, gate / 9, torch.zeros(4, 4), None))
        tensor(1.)
        >>> favourite = torch.tensor([[9.0, 0.0, 0.0, 0.0]]).expand(4, 4)
        >>> load_balance_loss(Routing(gate, 0 * experts, gate / 2, gate / 9, favourite, None))
        tensor(3.9985)
    """
    counts = counted(routing, question_padding_mask, key_padding_mask, lengths)
    logits = wide_logits(routing, counts)
    slots = by_expert(routing, torch.ones_like(routing.indices, dtype=logits.dtype))
    load = mean(slots, counts) / max(routing.indices.shape[-1], 1)
    return logits.shape[-1] * (load * mean(logits.softmax(-1), counts)).sum()


def importance_loss(
    routing: Routing,
    *,
    question_padding_mask: Tensor | None = None,  # [B] or [B, Q] bool
    key_padding_mask: Tensor | None = None,  # [B, T] bool
    lengths: Tensor | None = None,  # [B] int
) -> Tensor:
    """Evens out the gates that the experts get: the squared coefficient of variation over experts of their mean gate.

    `CV(I)^2 = E sum_e I_e^2 / (sum_e I_e)^2 - 1`, 0 where all get the same. Shazeer et al. (ICLR 2017, arXiv
    1701.06538), equations 6 and 7, without their factor (0.1 there). It also has a gradient with K = E.

    Args:
        routing: what a layer returned; [B, K] or [B, Q, K].
        question_padding_mask: bool in the shape of the questions, True = ignore.
        key_padding_mask: [B, T] bool, as the layer was given; only clips without any frame matter.
        lengths: [B] integers, instead of that mask.

    Returns:
        One number, float32 or wider.

    Raises:
        ValueError: a wrong shape or dtype.

    Examples:
        >>> import torch
        >>> from gaussian_moe import QuestionRouter, importance_loss
        >>> router = QuestionRouter(dim=16, num_experts=7, top_k=7, heads=4)
        >>> routing = router(torch.randn(2, 16), torch.randn(2, 60, 16))
        >>> bool(importance_loss(routing) >= 0)
        True
    """
    counts = counted(routing, question_padding_mask, key_padding_mask, lengths)
    gates = routing.gates.to(torch.promote_types(routing.gates.dtype, torch.float32))
    importance = mean(by_expert(routing, gates.masked_fill(~counts.unsqueeze(-1), 0.0)), counts)
    total = importance.sum()
    share = importance / total.masked_fill(total == 0, 1.0)
    return share.shape[-1] * (share - share.mean()).square().sum()


def router_z_loss(
    routing: Routing,
    *,
    question_padding_mask: Tensor | None = None,  # [B] or [B, Q] bool
    key_padding_mask: Tensor | None = None,  # [B, T] bool
    lengths: Tensor | None = None,  # [B] int
) -> Tensor:
    """Keeps the router's logits small: the mean of `(log sum_e exp(logit_e))^2`.

    ST-MoE (Zoph et al. 2022, arXiv 2202.08906), equation 5, without its factor (0.001 there).

    Args:
        routing: what a layer returned; logits [B, E] or [B, Q, E].
        question_padding_mask: bool in the shape of the questions, True = ignore.
        key_padding_mask: [B, T] bool, as the layer was given; only clips without any frame matter.
        lengths: [B] integers, instead of that mask.

    Returns:
        One number, float32 or wider.

    Raises:
        ValueError: a wrong shape or dtype.

    Examples:
        >>> import torch
        >>> from gaussian_moe import QuestionRouter, router_z_loss
        >>> router = QuestionRouter(dim=16, num_experts=7, top_k=3, heads=4)
        >>> router_z_loss(router(torch.randn(2, 16), torch.randn(2, 60, 16))).shape
        torch.Size([])
    """
    counts = counted(routing, question_padding_mask, key_padding_mask, lengths)
    return mean(wide_logits(routing, counts).logsumexp(-1).square(), counts)


def gaussian_diversity_loss(
    routing: Routing,
    concentration: float = 0.146,
    *,
    question_padding_mask: Tensor | None = None,  # [B] or [B, Q] bool
    key_padding_mask: Tensor | None = None,  # [B, T] bool
    lengths: Tensor | None = None,  # [B] int
) -> Tensor:
    """Keeps the experts in use apart in time, and each of them to a width: the mean of `||W W^T - lambda I||_F^2`.

    W [K, T] are the windows of a question, each divided by its sum over time. The diversity loss of CPL (Zheng et al.,
    CVPR 2022), as its authors' code has it (with the factor 1; lambda 0.146 on Charades-STA, 0.13 on ActivityNet).

    Args:
        routing: with its weights, [B, K, T] or [B, Q, K, T].
        concentration: lambda, the `sum_t W_kt^2` that a window should have: 1/n for one of n equal frames, about
            0.28/n for a Gaussian whose std is n frames. It follows T, where a std is a fraction of the clip.
        question_padding_mask: bool in the shape of the questions, True = ignore.
        key_padding_mask: [B, T] bool, as the layer was given; only clips without any frame matter.
        lengths: [B] integers, instead of that mask.

    Returns:
        One number, float32 or wider.

    Raises:
        ValueError: a routing without weights, or a wrong shape or dtype.

    Examples:
        >>> import torch
        >>> from gaussian_moe import QuestionRouter, gaussian_diversity_loss
        >>> router = QuestionRouter(dim=16, num_experts=7, top_k=3, heads=4)
        >>> gaussian_diversity_loss(router(torch.randn(2, 16), torch.randn(2, 60, 16)), concentration=0.1).shape
        torch.Size([])
    """
    check_routing(routing)
    if routing.weights is None:
        raise ValueError("routing.weights are missing; call the layer with return_routing=True")
    counts = counted(routing, question_padding_mask, key_padding_mask, lengths)
    weights = routing.weights.masked_fill(~counts[..., None, None], 0.0)
    mass = weights.sum(-1, keepdim=True)
    windows = weights / mass.masked_fill(mass == 0, 1.0)
    # Half precision would round what is compared with lambda.
    device = weights.device.type
    if _autocast.is_on(device):
        with torch.autocast(device, enabled=False):
            overlap = windows @ windows.mT
    else:
        overlap = windows @ windows.mT
    wanted = concentration * torch.eye(windows.shape[-2], dtype=windows.dtype, device=windows.device)
    return mean((overlap - wanted).square().sum((-1, -2)), counts)
