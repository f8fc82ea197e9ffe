"""Inputs for the Triton kernels of expert pooling, and what is expected of them: the formula in plain torch.

B batch, S streams, G routed experts of one clip, T frames, D channels, H hidden, E experts.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from gaussian_moe.kernels.gaussian_weights import gaussian_weights_reference

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
# The kernels take float64 under the interpreter only.
EXACT = torch.float64 if INTERPRETED else torch.float32
FORMS = ["even", "lengths", "times-lengths", "times-padding"]
NEEDS = pytest.mark.skipif(
    not INTERPRETED and not torch.cuda.is_available(), reason="needs TRITON_INTERPRET=1 or a CUDA device"
)


class Case(NamedTuple):
    """What the launcher takes, in its order."""

    frames: Tensor
    weight1: Tensor
    bias1: Tensor
    indices: Tensor
    weights: Tensor | None
    centers: Tensor | None
    stds: Tensor | None
    times: Tensor | None
    lengths: Tensor | None
    padding: Tensor | None

    def to(self, dtype: torch.dtype) -> Case:
        """The same with frames and bank in that dtype, and all else as wide as goes with it."""
        wide = torch.promote_types(dtype, torch.float32)
        cast = {
            name: value.to(dtype if name in ("frames", "weight1", "bias1") else wide)
            for name, value in self._asdict().items()
            if value is not None and value.is_floating_point()
        }
        return self._replace(**cast)

    @property
    def mask(self) -> Tensor:  # [B, T], True = padding
        B, _, T, _ = self.frames.shape
        if self.padding is not None:
            return self.padding
        count = torch.full((B,), T) if self.lengths is None else self.lengths
        return torch.arange(T) >= count.unsqueeze(-1)


def case(
    form: str, given: bool, B: int = 2, S: int = 1, G: int = 2, T: int = 20, D: int = 17, H: int = 33, E: int = 3
) -> Case:
    """Weights of either sign or Gaussians; padding holds NaN; in the other forms than "even" the last clip is empty.

    By default there are two blocks of frames, channels and hidden units under the interpreter.
    """
    indices = torch.randint(0, E, (B, G))
    if G > 1:
        indices[:, -1] = indices[:, 0]  # The same expert twice in one clip.
    times = lengths = padding = None
    if "lengths" in form:
        lengths = torch.tensor([max(T - 3, 1), *(T // 2 for _ in range(B))])[:B]
        lengths[-1] = 0
    if "padding" in form:
        padding = torch.rand(B, T) < 0.4
        padding[0, 0], padding[-1] = False, True
    if "times" in form:
        times = torch.rand(B, T, dtype=EXACT)
    made = Case(
        frames=torch.randn(B, S, T, D, dtype=EXACT),
        weight1=torch.randn(E, H, D, dtype=EXACT) / max(D, 1) ** 0.5,
        bias1=torch.randn(E, H, dtype=EXACT),
        indices=indices,
        weights=torch.randn(B, G, T, dtype=EXACT) if given else None,
        centers=None if given else torch.rand(B, G, dtype=EXACT),
        stds=None if given else 0.05 + 0.2 * torch.rand(B, G, dtype=EXACT),
        times=times,
        lengths=lengths,
        padding=padding,
    )
    made.frames.masked_fill_(made.mask[:, None, :, None], torch.nan)
    if times is not None:
        times.masked_fill_(made.mask, torch.nan)
    return made


class Wanted(NamedTuple):
    """State, mass, the hidden layer before its ReLU, and the leaves of their graph."""

    state: Tensor
    mass: Tensor
    hidden: Tensor
    leaves: dict[str, Tensor]

    def gradients(self, grad_state: Tensor, grad_mass: Tensor) -> dict[str, Tensor]:
        """By the names of the leaves."""
        outputs = ((self.state * grad_state).sum() + (self.mass * grad_mass).sum(),)
        found = torch.autograd.grad(outputs, list(self.leaves.values()))
        return dict(zip(self.leaves, found, strict=True))


def formula(given: Case, dtype: torch.dtype = torch.float64) -> Wanted:
    """`S_bsg = sum_t g_bgt relu(W1_e x_bst + b1_e)` as it reads, in that dtype; weights as wide as goes with it."""
    one = given.to(dtype)
    names = ("frames", "weight1", "bias1", *(("centers", "stds") if given.weights is None else ("weights",)))
    leaves: dict[str, Tensor] = {name: getattr(one, name).detach().requires_grad_() for name in names}
    mask = one.mask
    if "weights" in leaves:
        g = leaves["weights"].masked_fill(mask.unsqueeze(1), 0.0)
    else:
        number = torch.arange(mask.shape[1], dtype=leaves["centers"].dtype)
        even = number / ((~mask).sum(-1, keepdim=True) - 1).clamp(min=1)
        places = even if one.times is None else one.times.masked_fill(mask, 0.0)
        g = gaussian_weights_reference(leaves["centers"], leaves["stds"], places, mask)
    x = leaves["frames"].masked_fill(mask[:, None, :, None], 0.0)
    hidden = torch.einsum("bstd,bghd->bsgth", x, leaves["weight1"][one.indices])
    hidden = hidden + leaves["bias1"][one.indices][:, None, :, None]
    state = torch.einsum("bgt,bsgth->bsgh", g, hidden.relu().to(g.dtype)).to(dtype)
    return Wanted(state, g.sum(-1), hidden.detach(), leaves)


def unpacked(bits: Tensor, hidden_dim: int) -> Tensor:
    """Words [..., W] -> [..., H] bool."""
    return ((bits.unsqueeze(-1) >> torch.arange(32)) & 1).flatten(-2)[..., :hidden_dim].bool()


def poison_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kernel does not write is NaN, or -7 among integers."""
    empty = torch.empty

    def poisoned(*size: Any, **options: Any) -> Tensor:
        result: Tensor = empty(*size, **options)
        return result.fill_(torch.nan if result.is_floating_point() else -7)

    monkeypatch.setattr(torch, "empty", poisoned)


def assert_near(got: Tensor, wanted: Tensor) -> None:
    """Equal within the rounding of the dtype that is meant to be exact here."""
    tolerance = {torch.float64: 1e-11, torch.float32: 2e-4}[EXACT]
    torch.testing.assert_close(got.double(), wanted.double(), rtol=tolerance, atol=tolerance)


def strided(tensor: Tensor) -> Tensor:
    """The same values with gaps between them and the dimensions in another order in memory."""
    gaps = torch.stack([tensor, torch.full_like(tensor, torch.nan)], -1)
    return gaps.movedim(0, -1).contiguous().movedim(-1, 0)[..., 0]


def all_strided(given: Case) -> Case:
    """The same with gaps and another order in memory wherever there is more than one dimension of numbers."""
    changed = {
        name: strided(value)
        for name, value in given._asdict().items()
        if value is not None and value.is_floating_point() and value.dim() > 1
    }
    return given._replace(**changed)
