"""What layers compute, as digests of their bits: `python -m tests.stress.bits THREADS`, for one process beside another.

Prints {part: digest} as JSON. Parts are large enough for more than one thread; "auto" takes our operators.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn

from gaussian_moe import PatchFusion, ProgressiveRefiner, QuestionFusion, TemporalMoE, backend, load_balance_loss


def digest(tensors: Iterable[Tensor | None]) -> str:
    """Of every bit, in order."""
    found = hashlib.sha256()
    for x in tensors:
        found.update(b"none" if x is None else x.detach().flatten().contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _passes(layer: nn.Module, inputs: list[Tensor], call: Callable[..., Tensor | tuple[Tensor, ...]]) -> str:
    """Forward and backward in training mode, with dropout."""
    inputs = [x.requires_grad_() for x in inputs]
    results = call(*inputs)
    results = results if isinstance(results, tuple) else (results,)
    total = torch.stack([x.float().square().sum() for x in results]).sum()
    leaves = [*inputs, *layer.parameters()]
    return digest([*results, *torch.autograd.grad(total, leaves, allow_unused=True)])


def _moe(dtype: torch.dtype, path: str, top_k: int, frames: int) -> str:
    layer = TemporalMoE(64, 8, top_k, heads=4, backend=path, noise=0.1).to(dtype).train()
    lengths = torch.tensor([frames, 1, 0, frames // 2, *[frames - 3] * 4])
    question, x = torch.randn(8, 64).to(dtype), torch.randn(8, frames, 64).to(dtype)

    def call(question: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        pooled, routing = layer(question, x, lengths=lengths, return_routing=True)
        return pooled, load_balance_loss(routing)

    return _passes(layer, [question, x], call)


def _fusion() -> str:
    layer = QuestionFusion(64, heads=4).train()
    return _passes(layer, [torch.randn(8, 120, 64), torch.randn(8, 120, 64), torch.randn(8, 12, 64)], layer)


def _patches() -> str:
    layer = PatchFusion(64, heads=4).train()
    return _passes(layer, [torch.randn(4, 60, 14, 64), torch.randn(4, 60, 64), torch.randn(4, 60, 64)], layer)


def _refiner() -> str:
    layer = ProgressiveRefiner(64, heads=4).train()
    return _passes(layer, [torch.randn(512, 64), torch.randn(512, 3, 64)], layer)


PARTS: dict[str, Callable[[], str]] = {
    **{
        f"TemporalMoE {str(dtype).removeprefix('torch.')} {path} K={top_k} T={frames}": partial(
            _moe, dtype, path, top_k, frames
        )
        for dtype in (torch.float32, torch.float64, torch.bfloat16)
        for path in ("auto", "torch")
        for top_k, frames in ((8, 60), (2, 400))
    },
    "QuestionFusion": _fusion,
    "PatchFusion": _patches,
    "ProgressiveRefiner": _refiner,
}


def main() -> None:
    """Every part from the same seed."""
    torch.set_num_threads(int(sys.argv[1]))
    # Small sizes would go to plain operations.
    backend.SMALL = 0
    found = {}
    for name, part in PARTS.items():
        torch.manual_seed(713)
        found[name] = part()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
