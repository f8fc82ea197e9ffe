"""PyTorch's deterministic mode: no layer uses what has no deterministic algorithm on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gaussian_moe import (
    PatchFusion,
    ProgressiveRefiner,
    QuestionFusion,
    TemporalMoE,
    gaussian_diversity_loss,
    importance_loss,
    load_balance_loss,
    peak_span,
    router_z_loss,
    routing_statistics,
)
from gaussian_moe.kernels import per_expert
from gaussian_moe.kernels.per_expert import of_experts

# What `torch.use_deterministic_algorithms` lists as an error on CUDA, as far as tensors such as ours could meet it.
REFUSED = (
    "bincount",
    "histc",
    "kthvalue",
    "median",
    "put_",
    "grid_sampler",
    "upsample",
    "pad1d_backward",
    "nll_loss2d",
)


class Watched(TorchDispatchMode):  # type: ignore[no-untyped-call]  # of its metaclass
    """Fails at the first operation that would be an error."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # in torch
        self.seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).removeprefix("aten.")
        assert not any(name.startswith(refused) or refused in name.partition(".")[0] for refused in REFUSED), name
        if name.startswith("cumsum"):
            assert not args[0].is_floating_point(), f"{name} of {args[0].dtype}"
        if name.startswith("scatter_reduce"):
            assert "prod" not in args, name
        self.seen += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def watched() -> Iterator[Watched]:
    with Watched() as mode:
        yield mode


def passes(layer: nn.Module, *outputs: Tensor) -> None:
    """Backward too."""
    total = torch.stack([x.square().sum() for x in outputs]).sum()
    torch.autograd.grad(total, [*layer.parameters()], allow_unused=True)


@pytest.mark.parametrize("padded", ["mask", "lengths", "times"])
@pytest.mark.parametrize("top_k", [2, 7])
def test_no_operation_is_without_a_deterministic_algorithm(watched: Watched, top_k: int, padded: str) -> None:
    layer = TemporalMoE(16, 7, top_k, heads=4, backend="torch", num_gaussians=2)
    timing: dict[str, Any] = {
        "mask": {"key_padding_mask": torch.rand(2, 9) < 0.3},
        "lengths": {"lengths": torch.tensor([9, 4])},
        "times": {"times": torch.rand(2, 9).sort().values},
    }[padded]
    pooled, routing = layer(torch.randn(2, 16), torch.randn(2, 9, 16), return_routing=True, **timing)
    losses = [loss(routing) for loss in (load_balance_loss, importance_loss, router_z_loss, gaussian_diversity_loss)]
    passes(layer, pooled, *losses)
    routing_statistics(routing)
    peak_span(routing, **timing)
    assert watched.seen > 100


def test_nor_in_the_other_layers(watched: Watched) -> None:
    fusion, patches, refiner = QuestionFusion(16, heads=4), PatchFusion(16, heads=4), ProgressiveRefiner(16, heads=4)
    audio, video, words = torch.randn(2, 9, 16), torch.randn(2, 9, 16), torch.randn(2, 5, 16)
    mask = torch.rand(2, 5) < 0.5
    passes(fusion, *fusion(audio, video, words, words_padding_mask=mask))
    passes(patches, *patches(torch.randn(2, 9, 4, 16), audio, video))
    passes(refiner, refiner(audio[:, 0], words))
    assert watched.seen > 100


def test_a_float_running_sum_would_be_seen() -> None:
    with pytest.raises(AssertionError, match=r"cumsum.* of torch.float32"), Watched():
        torch.ones(3).cumsum(0)


def test_no_kernel_adds_up_in_whatever_order_programs_come() -> None:
    """An atomic addition would: its sum is rounded in another order every time."""
    sources = list(Path(per_expert.__file__).parent.rglob("*.py"))
    assert any("tl.store" in source.read_text(encoding="utf-8") for source in sources)
    assert not [source for source in sources if "atomic" in source.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", ["auto", "torch"])
def test_threads_of_a_cpu_add_in_the_same_order(path: str) -> None:
    """Few of many experts: each clip adds to their gradients."""
    layer = TemporalMoE(64, 8, 2, heads=4, backend=path).eval()
    question, frames = torch.randn(8, 64), torch.randn(8, 40, 64)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = [torch.autograd.grad(layer(question, frames).square().sum(), [*layer.parameters()]) for _ in range(20)]
    finally:
        torch.set_num_threads(threads)
    for gradients in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(gradients, found[0], strict=True))


def test_matrices_of_experts_and_their_gradients() -> None:
    bank = torch.randn(5, 3, 4, dtype=torch.float64, requires_grad=True)
    expert = torch.tensor([[4, 0, 4], [1, 4, 0]])
    assert torch.equal(of_experts(bank, expert), bank[expert])
    assert of_experts(bank[:, 0], expert).shape == (2, 3, 4)
    assert torch.autograd.gradcheck(lambda bank: of_experts(bank, expert), bank)
