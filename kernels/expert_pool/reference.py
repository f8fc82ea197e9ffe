"""The definition of the expert mixture (QA-TIGER, arXiv 2503.04459, section 3.3), as slow and plain as it reads.

B batch, T frames, D channels, H hidden, E experts, K experts in use.
"""

from __future__ import annotations

import torch
from torch import Tensor


def expert_pool_reference(
    frames: Tensor,  # [B, T, D]
    gates: Tensor,  # [B, K]
    indices: Tensor,  # [B, K] int64
    weights: Tensor,  # [B, K, T]
    weight1: Tensor,  # [E, H, D]
    bias1: Tensor,  # [E, H]
    weight2: Tensor,  # [E, D, H]
    bias2: Tensor,  # [E, D]
    released_order: bool = False,
) -> Tensor:  # [B, D]
    """`y_b = sum_k p_bk sum_t g_bkt f_e(x_bt)`, `e = e(b, k)`, `f_e(x) = W2_e relu(W1_e x + b1_e) + b2_e`.

    With `released_order` frame t of sample b takes the experts of sample `(b T + t) mod B`, as the published code
    does; gates and weights stay the sample's own.
    """
    num_clips, num_frames, _ = frames.shape
    pooled = []
    for b in range(num_clips):
        total = frames.new_zeros(weight2.shape[1])
        for t in range(num_frames):
            source = (b * num_frames + t) % num_clips if released_order else b
            for k, e in enumerate(indices[source].tolist()):
                hidden = torch.relu(weight1[e] @ frames[b, t] + bias1[e])
                total = total + gates[b, k] * weights[b, k, t] * (weight2[e] @ hidden + bias2[e])
        pooled.append(total)
    return torch.stack(pooled) if pooled else frames.new_zeros(0, weight2.shape[1])
