"""Multi-head attention over one source, with PyTorch's parameters and none of its products that can be avoided.

L queries, T source positions, D channels, C channels of one head. "..." is any leading shape.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import _checks
from ._rearrange import rearrange
from ._state import VersionedModule
from .functional import linear
from .linear import Linear


class Attention(VersionedModule):
    """Queries attend to a source that is both key and value, under `nn.MultiheadAttention`'s state-dict names.

    `out = W_o [softmax(q_h k_h^T / sqrt(C)) v_h]_h + b_o`. A source with no valid position gives zeros before the
    output projection, and no NaN in any gradient. With few queries the key and value projections are applied to
    the queries and to the average instead of to every position, which is exact and cheaper.

    Args:
        dim: D, channels of queries and source.
        heads: number of heads; divides `dim`.
        dropout: rate on the attention weights.
        backend: "auto" or "torch".

    Raises:
        ValueError: `heads` does not divide `dim`, `dropout` is not in [0, 1), or another backend.

    Examples:
        >>> import torch
        >>> from gaussian_moe.attention import Attention
        >>> Attention(16, heads=4)(torch.randn(2, 1, 16), torch.randn(2, 60, 16)).shape
        torch.Size([2, 1, 16])
    """

    def __init__(
        self,
        dim: int,
        heads: int = 8,
        dropout: float = 0.1,
        backend: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        _checks.heads_divide(dim, heads)
        _checks.probability(dropout=dropout)
        self.dim, self.heads, self.dropout, self.backend = dim, heads, dropout, backend
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim, device=device, dtype=dtype))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * dim, device=device, dtype=dtype))
        self.out_proj = Linear(dim, dim, backend=backend, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """PyTorch's own initialisation of `nn.MultiheadAttention`."""
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.in_proj_bias)
        self.out_proj.reset_parameters()
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self,
        queries: Tensor,  # [..., L, D]
        source: Tensor,  # [..., T, D], leading shape broadcastable to that of queries
        padding: Tensor | None = None,  # [..., T] bool
    ) -> Tensor:  # [..., L, D]
        """Attends.

        Args:
            queries: [..., L, D].
            source: [..., T, D], with leading dimensions that broadcast against those of `queries`.
            padding: [..., T] bool, True = ignore.
        """
        if self._absorbs(queries.shape[-2], source.shape[-2]):
            attended = self._absorbed(queries, source, padding)
        else:
            attended = self._projected(queries, source, padding)
        projected: Tensor = self.out_proj(attended)
        return projected

    def _absorbs(self, L: int, T: int) -> bool:
        """Products for each head's queries over the source, against two projections of the source."""
        if torch.compiler.is_exporting():
            # A comparison of sizes would shut the others out of the program: as for a long source.
            return isinstance(L, int) and L * (self.heads - 1) < self.dim
        return L * self.dim + L * (self.heads - 1) * T < T * self.dim

    def _projected(self, queries: Tensor, source: Tensor, padding: Tensor | None) -> Tensor:
        D, L, T = self.dim, queries.shape[-2], source.shape[-2]
        if queries is source:
            query, key, value = self._linear(source, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        else:
            # Split at once, so that the gradient is put together at once: each slice's would be padded, then added.
            weights, biases = torch.split(self.in_proj_weight, [D, 2 * D]), torch.split(self.in_proj_bias, [D, 2 * D])
            query = self._linear(queries, weights[0], biases[0])
            key, value = self._linear(source, weights[1], biases[1]).chunk(2, dim=-1)
        leading = torch.broadcast_shapes(queries.shape[:-2], source.shape[:-2])  # type: ignore[no-untyped-call]
        sequences = math.prod(leading)
        # Fused kernels take one leading dimension, and not more sequences than a launch can count.
        flat = (sequences,) if torch.compiler.is_exporting() or sequences < 2**16 else (sequences, 1)
        query, key, value = (
            part.expand(*leading, length, D).reshape(*flat, length, self.heads, D // self.heads).transpose(-2, -3)
            for part, length in ((query, L), (key, T), (value, T))
        )
        mask, nothing = None, None
        if padding is not None:
            nothing = padding.all(-1, keepdim=True)
            # A softmax over nothing is NaN: such a source is attended to whole, and its result replaced by 0.
            mask = ~(padding & ~nothing)
            mask = mask.expand(*leading, T).reshape(*flat, 1, 1, T)
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        attended = attended.transpose(-2, -3).reshape(*leading, L, D)
        return attended if nothing is None else attended.masked_fill(nothing.unsqueeze(-1), 0.0)

    def _absorbed(self, queries: Tensor, source: Tensor, padding: Tensor | None) -> Tensor:
        D, C = self.dim, self.dim // self.heads
        query_weight, key_weight, value_weight = self.in_proj_weight.chunk(3)
        query_bias, _, value_bias = self.in_proj_bias.chunk(3)
        key_weight, value_weight = (weight.view(self.heads, C, D) for weight in (key_weight, value_weight))
        query = self._linear(queries, query_weight, query_bias) / math.sqrt(C)
        query = rearrange(query, "... l (h c) -> ... h l c", h=self.heads)
        # The key's bias adds the same to every position's score, which the softmax takes out again.
        over_source = rearrange(_each_head(query, key_weight), "... h l d -> ... (h l) d")
        over_source, large = _held(over_source, source)
        scores = (over_source @ source.transpose(-1, -2)).to(torch.promote_types(source.dtype, torch.float32))
        if large is not None:
            scores = scores * large
        if padding is not None:
            nothing = padding.all(-1, keepdim=True).unsqueeze(-2)
            scores = scores.masked_fill(padding.unsqueeze(-2) & ~nothing, -torch.inf)
            attention = scores.softmax(-1).masked_fill(nothing, 0.0)
        else:
            attention = scores.softmax(-1)
        attention = F.dropout(attention, self.dropout, self.training)
        average = rearrange(attention.to(source.dtype) @ source, "... (h l) d -> ... h l d", h=self.heads)
        total = rearrange(attention.sum(-1), "... (h l) -> ... h l 1", h=self.heads).to(average.dtype)
        attended = _each_head(average, value_weight.transpose(-1, -2)) + total * value_bias.view(self.heads, 1, C)
        return rearrange(attended, "... h l c -> ... l (h c)")

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return linear(x, weight, bias, backend=self.backend)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, heads={self.heads}, dropout={self.dropout}"


def _held(
    queries: Tensor,  # [..., L, D]
    source: Tensor,  # [..., T, D]
) -> tuple[Tensor, Tensor | None]:
    """Queries so small that float16 holds their products with the source, and by what to multiply those; [..., L, 1].

    Features of some hundreds have scores above 65,504, and a softmax of infinities is NaN. Usual features leave the
    queries as they are: by a power of 2 that is 1.
    """
    if queries.dtype != torch.float16 or torch.compiler.is_exporting():
        return queries, None
    with torch.no_grad():
        largest = source.abs().amax((-1, -2)).float()[..., None, None]
        most = queries.float().abs().sum(-1, keepdim=True) * largest
        large = (most / 2**15).clamp(min=1.0).log2().ceil().exp2()
    return (queries / large).to(queries.dtype), large


def _each_head(x: Tensor, weight: Tensor) -> Tensor:
    """[..., H, L, A] times [H, A, B]: one large product a head, where `@` would copy the weight for every clip."""
    product: Tensor = torch.einsum("...hla,hab->...hlb", x, weight)
    return product
